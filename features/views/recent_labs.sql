-- Laboratory results known at prediction_time: the last of 7 d, and for creatinine how it moved. One row per spine row.
-- Null when not measured in the window. Of two values of one collection time the higher stands.
-- Creatinine is 2160-0, serum or plasma; whole blood (38483-4) is not mixed in. Lactate is 2524-7, serum or plasma.
-- A held result of the last 48 h holds the view: older ones no longer decide what was last.
-- codes: 2160-0, 3094-0, 2951-2, 2823-3, 718-7, 6690-2, 777-3, 1751-7, 2345-7, 2524-7, 1963-8
-- hold window: 48 hours
-- owner: clinical informatics
-- freshness: 6 hours
with person as (
    select s.encounter_id, s.prediction_time, p.other_patient_id
    from spine as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

admitted as (
    select s.encounter_id, s.prediction_time, min(e.started_at) as started_at
    from spine as s
    join encounter as e
        on e.encounter_id = s.encounter_id
        and e.available_at <= s.prediction_time
        and s.prediction_time < e.superseded_at
        and not e.is_retracted
    group by s.encounter_id, s.prediction_time
),

-- creatinine reaches back 365 d for the baseline, the rest 7 d
result as (
    select
        person.encounter_id,
        person.prediction_time,
        o.code,
        o.effective_at,
        max(o.value_number) as value
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= person.prediction_time
        and person.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at <= person.prediction_time
        and o.effective_at > person.prediction_time - interval 365 days
        and (o.code = '2160-0' or o.effective_at > person.prediction_time - interval 7 days)
    where o.code in (
        '2160-0', '3094-0', '2951-2', '2823-3', '718-7', '6690-2', '777-3', '1751-7', '2345-7', '2524-7', '1963-8'
    )
    and o.value_number is not null
    group by person.encounter_id, person.prediction_time, o.code, o.effective_at
),

last_result as (
    select
        encounter_id,
        prediction_time,
        max_by(value, effective_at) filter (where code = '3094-0') as bun,
        max_by(value, effective_at) filter (where code = '2951-2') as sodium,
        max_by(value, effective_at) filter (where code = '2823-3') as potassium,
        max_by(value, effective_at) filter (where code = '718-7') as hemoglobin,
        max_by(value, effective_at) filter (where code = '6690-2') as leukocytes,
        max_by(value, effective_at) filter (where code = '777-3') as platelets,
        max_by(value, effective_at) filter (where code = '1751-7') as albumin,
        max_by(value, effective_at) filter (where code = '2345-7') as glucose,
        max_by(value, effective_at) filter (where code = '2524-7') as lactate,
        max_by(value, effective_at) filter (where code = '1963-8') as bicarbonate
    from result
    where code <> '2160-0'
    group by encounter_id, prediction_time
),

creatinine_draw as (
    select
        r.encounter_id,
        r.prediction_time,
        r.effective_at,
        r.value,
        r.effective_at > r.prediction_time - interval 24 hours as is_24h,
        r.effective_at > r.prediction_time - interval 48 hours as is_48h,
        r.effective_at > r.prediction_time - interval 7 days as is_7d,
        r.effective_at >= admitted.started_at as is_of_stay
    from result as r
    left join admitted
        on admitted.encounter_id = r.encounter_id
        and admitted.prediction_time = r.prediction_time
    where r.code = '2160-0'
),

creatinine as (
    select
        encounter_id,
        prediction_time,
        max(effective_at) filter (where is_7d) as last_at,
        max_by(value, effective_at) filter (where is_7d) as last_value,
        min(value) filter (where is_24h) as lowest_24h,
        min(value) filter (where is_48h) as lowest_48h,
        min(value) filter (where is_7d) as lowest_7d,
        median(value) filter (where not is_7d) as median_365d,
        min_by(value, effective_at) filter (where is_of_stay) as first_of_stay,
        min(value) filter (where is_of_stay) as lowest_of_stay,
        max(value) filter (where is_of_stay) as highest_of_stay,
        min(effective_at) filter (where is_48h) as first_48h_at,
        min_by(value, effective_at) filter (where is_48h) as first_48h,
        count(*) filter (where is_48h) as draws_48h
    from creatinine_draw
    group by encounter_id, prediction_time
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
from spine as s
left join creatinine as c
    on c.encounter_id = s.encounter_id
    and c.prediction_time = s.prediction_time
left join last_result as l
    on l.encounter_id = s.encounter_id
    and l.prediction_time = s.prediction_time
