-- Procedures known at prediction_time: in this stay and in the year. One row per spine row. Null when no feed of the site brings
-- procedures: what is not sent is not "none". In the stay: null too when the stay is not known.
-- Where all feeds of the site code procedures after discharge, those of the stay are null until one is known.
-- A procedure that does not say its stay belongs to the one in whose time it was done.
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

-- sites of which a feed brings procedures
bringing as (
    select site_id, bool_or(not list_contains(not_told, 'procedure:of_this_stay')) as is_in_stay
    from feed
    where list_contains(tables, 'procedure')
    group by site_id
),

done as (
    select
        person.encounter_id,
        person.prediction_time,
        p.code_system,
        p.effective_at,
        coalesce(p.encounter_id = stay.encounter_id, p.effective_at between stay.started_at and stay.until_at) as is_of_stay,
        p.effective_at > person.prediction_time - interval 365 days as is_365d
    from person
    join procedure as p
        on p.patient_id = person.other_patient_id
        and p.available_at <= person.prediction_time
        and person.prediction_time < p.superseded_at
        and not p.is_retracted
        and p.effective_at <= person.prediction_time
    left join stay
        on stay.encounter_id = person.encounter_id
        and stay.prediction_time = person.prediction_time
),

counted as (
    select
        encounter_id,
        prediction_time,
        count(*) filter (where is_of_stay) as of_stay,
        count(*) filter (where is_365d) as of_365d,
        count(*) filter (where is_365d and code_system in ('icd-9-pcs', 'icd-10-pcs')) as icd_365d,
        count(*) filter (where is_365d and code_system = 'cpt') as cpt_365d,
        count(*) filter (where is_365d and code_system = 'snomed') as snomed_365d,
        max(effective_at) filter (where is_365d) as last_at
    from done
    group by encounter_id, prediction_time
)

select
    s.encounter_id,
    s.prediction_time,
    case when stay.started_at is not null then coalesce(nullif(c.of_stay, 0), case when bringing.is_in_stay then 0 end) end::double
        as procedure_in_stay_count,             -- procedures of this stay
    case when bringing.site_id is not null then coalesce(c.of_365d, 0) end::double
        as procedure_365d_count,                -- procedures of 365 d
    case when bringing.site_id is not null then coalesce(c.icd_365d, 0) end::double
        as procedure_icd_365d_count,            -- of them in ICD-9 or ICD-10-PCS
    case when bringing.site_id is not null then coalesce(c.cpt_365d, 0) end::double
        as procedure_cpt_365d_count,            -- of them in CPT
    case when bringing.site_id is not null then coalesce(c.snomed_365d, 0) end::double
        as procedure_snomed_365d_count,         -- of them in SNOMED CT
    (epoch(s.prediction_time) - epoch(c.last_at)) / 86400
        as since_last_procedure_days            -- since the last one of 365 d; null when there was none
from spine as s
left join bringing on bringing.site_id = s.site_id
left join stay
    on stay.encounter_id = s.encounter_id
    and stay.prediction_time = s.prediction_time
left join counted as c
    on c.encounter_id = s.encounter_id
    and c.prediction_time = s.prediction_time
