-- Imaging studies known at prediction_time: of 24 h, of 7 d and of this stay, by modality. One row per spine row. Null when no feed
-- of the site brings imaging studies: what is not sent is not "none". In the stay: null too when the stay is not known.
-- The modality is that of the first series (DICOM): CT, MR, US, and CR or DX for plain X-rays; others count in the totals alone.
-- A study that does not say its stay belongs to the one in whose time it was made.
-- codes: none
-- hold window: 0 hours
-- owner: clinical informatics
-- freshness: 24 hours
with person as materialized (
    select s.encounter_id, s.prediction_time, p.other_patient_id
    from spine as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

stay as (
    select s.encounter_id, s.prediction_time, e.started_at, coalesce(e.ended_at, s.prediction_time) as until_at
    from spine as s
    join encounter as e
        on e.encounter_id = s.encounter_id
        and e.available_at <= s.prediction_time
        and s.prediction_time < e.superseded_at
        and not e.is_retracted
),

-- sites of which a feed brings imaging studies
bringing as (
    select distinct site_id from feed where list_contains(tables, 'imaging_study')
),

made as (
    select
        person.encounter_id,
        person.prediction_time,
        case when i.modality in ('CR', 'DX') then 'xr' else lower(i.modality) end as modality,
        i.effective_at,
        i.effective_at > person.prediction_time - interval 24 hours as is_24h,
        i.effective_at > person.prediction_time - interval 7 days as is_7d,
        coalesce(i.encounter_id = stay.encounter_id, i.effective_at between stay.started_at and stay.until_at) as is_of_stay
    from person
    join imaging_study as i
        on i.patient_id = person.other_patient_id
        and i.available_at <= person.prediction_time
        and person.prediction_time < i.superseded_at
        and not i.is_retracted
        and i.effective_at <= person.prediction_time
    left join stay
        on stay.encounter_id = person.encounter_id
        and stay.prediction_time = person.prediction_time
),

counted as (
    select
        encounter_id,
        prediction_time,
        count(*) filter (where is_24h) as studies_24h,
        count(*) filter (where is_24h and modality = 'ct') as ct_24h,
        count(*) filter (where is_24h and modality = 'mr') as mr_24h,
        count(*) filter (where is_24h and modality = 'xr') as xr_24h,
        count(*) filter (where is_24h and modality = 'us') as us_24h,
        count(*) filter (where is_7d) as studies_7d,
        count(*) filter (where is_7d and modality = 'ct') as ct_7d,
        count(*) filter (where is_7d and modality = 'mr') as mr_7d,
        count(*) filter (where is_7d and modality = 'xr') as xr_7d,
        count(*) filter (where is_7d and modality = 'us') as us_7d,
        count(*) filter (where is_of_stay) as studies_of_stay,
        count(*) filter (where is_of_stay and modality = 'ct') as ct_of_stay,
        count(*) filter (where is_of_stay and modality = 'mr') as mr_of_stay,
        count(*) filter (where is_of_stay and modality = 'xr') as xr_of_stay,
        count(*) filter (where is_of_stay and modality = 'us') as us_of_stay,
        max(effective_at) as last_at
    from made
    group by encounter_id, prediction_time
)

select
    s.encounter_id,
    s.prediction_time,
    case when bringing.site_id is not null then coalesce(c.studies_24h, 0) end::double
        as imaging_24h_count,                   -- studies of 24 h
    case when bringing.site_id is not null then coalesce(c.ct_24h, 0) end::double
        as imaging_ct_24h_count,                -- computed tomography of 24 h
    case when bringing.site_id is not null then coalesce(c.mr_24h, 0) end::double
        as imaging_mr_24h_count,                -- magnetic resonance of 24 h
    case when bringing.site_id is not null then coalesce(c.xr_24h, 0) end::double
        as imaging_xr_24h_count,                -- plain X-rays (CR, DX) of 24 h
    case when bringing.site_id is not null then coalesce(c.us_24h, 0) end::double
        as imaging_us_24h_count,                -- ultrasound of 24 h
    case when bringing.site_id is not null then coalesce(c.studies_7d, 0) end::double
        as imaging_7d_count,                    -- studies of 7 d
    case when bringing.site_id is not null then coalesce(c.ct_7d, 0) end::double
        as imaging_ct_7d_count,                 -- computed tomography of 7 d
    case when bringing.site_id is not null then coalesce(c.mr_7d, 0) end::double
        as imaging_mr_7d_count,                 -- magnetic resonance of 7 d
    case when bringing.site_id is not null then coalesce(c.xr_7d, 0) end::double
        as imaging_xr_7d_count,                 -- plain X-rays (CR, DX) of 7 d
    case when bringing.site_id is not null then coalesce(c.us_7d, 0) end::double
        as imaging_us_7d_count,                 -- ultrasound of 7 d
    case when bringing.site_id is not null and stay.started_at is not null then coalesce(c.studies_of_stay, 0) end::double
        as imaging_in_stay_count,               -- studies of this stay
    case when bringing.site_id is not null and stay.started_at is not null then coalesce(c.ct_of_stay, 0) end::double
        as imaging_ct_in_stay_count,            -- computed tomography of this stay
    case when bringing.site_id is not null and stay.started_at is not null then coalesce(c.mr_of_stay, 0) end::double
        as imaging_mr_in_stay_count,            -- magnetic resonance of this stay
    case when bringing.site_id is not null and stay.started_at is not null then coalesce(c.xr_of_stay, 0) end::double
        as imaging_xr_in_stay_count,            -- plain X-rays (CR, DX) of this stay
    case when bringing.site_id is not null and stay.started_at is not null then coalesce(c.us_of_stay, 0) end::double
        as imaging_us_in_stay_count,            -- ultrasound of this stay
    (epoch(s.prediction_time) - epoch(c.last_at)) / 3600
        as since_last_imaging_hours             -- since the last study; null when there was none
from spine as s
left join bringing on bringing.site_id = s.site_id
left join stay
    on stay.encounter_id = s.encounter_id
    and stay.prediction_time = s.prediction_time
left join counted as c
    on c.encounter_id = s.encounter_id
    and c.prediction_time = s.prediction_time
