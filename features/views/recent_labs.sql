-- Laboratory results known at prediction_time: the last of 7 d, and for creatinine how it moved. One row per spine row.
-- Null when not measured in the window. Of two values of one collection time the higher stands.
-- Creatinine is 2160-0, serum or plasma; whole blood (38483-4) is not mixed in. Lactate is 2524-7, serum or plasma.
-- A result of the last 7 d in quarantine holds the view: the last values and the lowest creatinine of 7 d look back as far.
-- Beyond the hold window, 365 days: the median creatinine, which one value moves little, and the extremes of a longer stay.
-- codes: 2160-0 creatinine, 3094-0 bun, 2951-2 sodium, 2823-3 potassium, 718-7 hemoglobin, 6690-2 leukocytes, 777-3 platelets
-- codes: 1751-7 albumin, 2345-7 glucose, 2524-7 lactate, 1963-8 bicarbonate
-- hold window: 7 days
-- owner: clinical informatics
-- freshness: 6 hours
with numbered as materialized (
    select encounter_id, prediction_time, patient_id, row_number() over () as spine_row from spine
),

person as (
    select s.spine_row, s.encounter_id, s.prediction_time, p.other_patient_id
    from numbered as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

last_of_each as (
    select person.spine_row, o.code, max(row(o.effective_at, o.value_number)) as last_result
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= person.prediction_time
        and person.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at <= person.prediction_time
        and o.effective_at > person.prediction_time - interval 7 days
    where o.code in ('3094-0', '2951-2', '2823-3', '718-7', '6690-2', '777-3', '1751-7', '2345-7', '2524-7', '1963-8')
    and o.value_number is not null
    group by person.spine_row, o.code
),

last_result as (
    select
        spine_row,
        max(last_result[2]) filter (where code = '3094-0') as bun,
        max(last_result[2]) filter (where code = '2951-2') as sodium,
        max(last_result[2]) filter (where code = '2823-3') as potassium,
        max(last_result[2]) filter (where code = '718-7') as hemoglobin,
        max(last_result[2]) filter (where code = '6690-2') as leukocytes,
        max(last_result[2]) filter (where code = '777-3') as platelets,
        max(last_result[2]) filter (where code = '1751-7') as albumin,
        max(last_result[2]) filter (where code = '2345-7') as glucose,
        max(last_result[2]) filter (where code = '2524-7') as lactate,
        max(last_result[2]) filter (where code = '1963-8') as bicarbonate
    from last_of_each
    group by spine_row
),

admitted as (
    select s.spine_row, min(e.started_at) as started_at
    from numbered as s
    join encounter as e
        on e.encounter_id = s.encounter_id
        and e.available_at <= s.prediction_time
        and s.prediction_time < e.superseded_at
        and not e.is_retracted
    group by s.spine_row
),

creatinine_draw as (
    select
        person.spine_row,
        o.effective_at,
        o.value_number as value,
        o.effective_at > person.prediction_time - interval 24 hours as is_24h,
        o.effective_at > person.prediction_time - interval 48 hours as is_48h,
        o.effective_at > person.prediction_time - interval 7 days as is_7d,
        o.effective_at >= admitted.started_at as is_of_stay
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= person.prediction_time
        and person.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at <= person.prediction_time
        and o.effective_at > person.prediction_time - interval 365 days
    left join admitted on admitted.spine_row = person.spine_row
    where o.code = '2160-0'
    and o.value_number is not null
),

creatinine as (
    select
        spine_row,
        max(row(effective_at, value)) filter (where is_7d) as last_draw,
        min(row(effective_at, -value)) filter (where is_48h) as first_48h_draw,
        min(row(effective_at, -value)) filter (where is_of_stay) as first_of_stay_draw,
        min(value) filter (where is_24h) as lowest_24h,
        min(value) filter (where is_48h) as lowest_48h,
        min(value) filter (where is_7d) as lowest_7d,
        median(value) filter (where not is_7d) as median_365d,
        min(value) filter (where is_of_stay) as lowest_of_stay,
        max(value) filter (where is_of_stay) as highest_of_stay,
        count(distinct effective_at) filter (where is_48h) as draws_48h
    from creatinine_draw
    group by spine_row
),

-- of two values of one time the higher stands, so the first ones were sorted by their negative
creatinine_named as (
    select
        *,
        last_draw[1] as last_at,
        last_draw[2] as last_value,
        first_48h_draw[1] as first_48h_at,
        -first_48h_draw[2] as first_48h,
        -first_of_stay_draw[2] as first_of_stay
    from creatinine
)

select
    s.encounter_id,
    s.prediction_time,
    c.last_value
        as creatinine_last_mg_dl,               -- last of 7 d
    (epoch(s.prediction_time) - epoch(c.last_at)) / 3600
        as creatinine_since_last_hours,         -- since the last one was collected
    c.first_of_stay
        as creatinine_first_of_stay_mg_dl,      -- first collected in this stay
    c.lowest_of_stay
        as creatinine_lowest_of_stay_mg_dl,     -- lowest collected in this stay
    c.highest_of_stay
        as creatinine_highest_of_stay_mg_dl,    -- highest collected in this stay
    c.lowest_7d
        as creatinine_lowest_7d_mg_dl,          -- lowest of 7 d, the baseline of KDIGO
    c.median_365d
        as creatinine_median_365d_mg_dl,        -- median of the days 8 to 365 before
    c.last_value - c.lowest_24h
        as creatinine_rise_24h_mg_dl,           -- last less the lowest of 24 h; null without one in 24 h
    c.last_value - c.lowest_48h
        as creatinine_rise_48h_mg_dl,           -- last less the lowest of 48 h; null without one in 48 h
    c.last_value / nullif(c.lowest_7d, 0)
        as creatinine_to_lowest_7d_ratio,       -- last over the lowest of 7 d
    c.last_value / nullif(c.median_365d, 0)
        as creatinine_to_median_365d_ratio,     -- last over the median of the days 8 to 365 before
    case when c.draws_48h > 1 then (c.last_value - c.first_48h) / ((epoch(c.last_at) - epoch(c.first_48h_at)) / 86400) end
        as creatinine_slope_48h_mg_dl_per_day,  -- from the first to the last of 48 h; null with fewer than two
    coalesce(c.draws_48h, 0)::double
        as creatinine_draw_48h_count,           -- collection times in 48 h
    l.bun
        as bun_last_mg_dl,                      -- urea nitrogen, last of 7 d
    l.sodium
        as sodium_last_mmol_l,                  -- last of 7 d
    l.potassium
        as potassium_last_mmol_l,               -- last of 7 d
    l.bicarbonate
        as bicarbonate_last_mmol_l,             -- last of 7 d
    l.glucose
        as glucose_last_mg_dl,                  -- last of 7 d
    l.lactate
        as lactate_last_mmol_l,                 -- last of 7 d
    l.albumin
        as albumin_last_g_dl,                   -- last of 7 d
    l.hemoglobin
        as hemoglobin_last_g_dl,                -- last of 7 d
    l.leukocytes
        as leukocytes_last_10e3_ul,             -- last of 7 d
    l.platelets
        as platelets_last_10e3_ul               -- last of 7 d
from numbered as s
left join creatinine_named as c on c.spine_row = s.spine_row
left join last_result as l on l.spine_row = s.spine_row
