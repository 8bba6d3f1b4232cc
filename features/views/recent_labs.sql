-- Laboratory results known at prediction_time: of each analyte the last, the lowest, the highest and how it moved over 7 d; of
-- creatinine also what KDIGO asks for. One row per spine row. Null when not measured in the window.
-- Of two values of one collection time the higher stands, but the lowest is the lowest of all.
-- Serum, plasma or whole blood is what the code says: whole-blood creatinine (38483-4) and lactate (32693-4) are not mixed in; blood
-- gases are arterial. Hematocrit counts however it was counted.
-- A slope is that of the straight line nearest to the values (least squares, one value per collection time). It is added up in whole
-- seconds and millionths of the unit, so that it does not depend on the order in which results are read.
-- A result of the last 7 d in quarantine holds the features of its analyte: they look back as far. Creatinine of the last year holds
-- its median of that year and the extremes of a longer stay as well.
-- codes: 2160-0 creatinine mg_dl
-- codes: 3094-0 bun mg_dl
-- codes: 2951-2 sodium mmol_l
-- codes: 2823-3 potassium mmol_l
-- codes: 2075-0 chloride mmol_l
-- codes: 1963-8 bicarbonate mmol_l
-- codes: 17861-6 calcium mg_dl
-- codes: 19123-9 magnesium mg_dl
-- codes: 2345-7 glucose mg_dl
-- codes: 2524-7 lactate mmol_l
-- codes: 1751-7 albumin g_dl
-- codes: 1975-2 bilirubin mg_dl
-- codes: 1742-6 alt iu_l
-- codes: 1920-8 ast iu_l
-- codes: 6768-6 alkaline_phosphatase iu_l
-- codes: 6598-7 troponin_t ng_ml
-- codes: 10839-9 troponin_i ng_ml
-- codes: 718-7 hemoglobin g_dl
-- codes: 4544-3 hematocrit percent
-- codes: 20570-8 hematocrit percent
-- codes: 6690-2 leukocytes 10e3_ul
-- codes: 777-3 platelets 10e3_ul
-- codes: 2744-1 arterial_ph ph
-- codes: 2019-8 arterial_co2 mm_hg
-- codes: 2703-7 arterial_o2 mm_hg
-- hold window: 7 days
-- longer hold window: 365 days creatinine_median_365d_mg_dl creatinine_to_median_365d_ratio
-- longer hold window: 365 days creatinine_first_of_stay_mg_dl creatinine_lowest_of_stay_mg_dl creatinine_highest_of_stay_mg_dl
-- owner: clinical informatics
-- freshness: 6 hours
with numbered as materialized (
    select encounter_id, prediction_time, patient_id, row_number() over () as spine_row from spine
),

person as materialized (
    select s.spine_row, s.encounter_id, s.prediction_time, p.other_patient_id
    from numbered as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

-- one per collection time; collected_us: in microseconds from prediction_time, so below zero
draw as (
    select
        person.spine_row,
        case
            -- for each {word}
            when o.code in ({codes}) then '{word}'
            -- end
        end as analyte,
        epoch_us(o.effective_at) - epoch_us(person.prediction_time) as collected_us,
        max(o.value_number) as value,
        min(o.value_number) as lowest
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= person.prediction_time
        and person.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at <= person.prediction_time
        and o.effective_at > person.prediction_time - interval 7 days
    where o.code in ({all_codes})
    and o.value_number is not null
    group by person.spine_row, analyte, collected_us
),

-- x and y are whole numbers
measured as (
    select
        *,
        value - lag(value) over (partition by spine_row, analyte order by collected_us) as delta,
        collected_us // 1000000 as x,
        (value * 1000000)::bigint as y
    from draw
),

summed as (
    select
        spine_row,
        analyte,
        max(collected_us) as last_us,
        max_by(value, collected_us) as last_value,
        max_by(delta, collected_us) as delta,
        min(lowest) as lowest,
        max(value) as highest,
        count(*) * sum(x * y) - sum(x) * sum(y) as covariance,
        count(*) * sum(x * x) - sum(x) * sum(x) as variance
    from measured
    group by spine_row, analyte
),

trend as materialized (
    select
        spine_row,
        analyte,
        last_value,
        delta,
        lowest,
        highest,
        covariance / nullif(variance, 0) * 86400 / 1000000 as slope_per_day,
        -last_us / 3600000000 as since_last_hours
    from summed
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

-- of two values of one time the higher stands, so the first ones are sorted by their negative
kdigo as (
    select
        spine_row,
        max(row(effective_at, value)) filter (where is_48h) as last_48h,
        min(row(effective_at, -value)) filter (where is_48h) as first_48h,
        min(row(effective_at, -value)) filter (where is_of_stay) as first_of_stay,
        min(value) filter (where is_24h) as lowest_24h,
        min(value) filter (where is_48h) as lowest_48h,
        median(value) filter (where not is_7d) as median_365d,
        min(value) filter (where is_of_stay) as lowest_of_stay,
        max(value) filter (where is_of_stay) as highest_of_stay,
        count(distinct effective_at) filter (where is_48h) as draws_48h
    from creatinine_draw
    group by spine_row
)

select
    s.encounter_id,
    s.prediction_time,
    -- for each {word}
    {word}.last_value
        as {word}_last_{unit},                  -- last of 7 d
    {word}.delta
        as {word}_delta_{unit},                 -- last less the one before it; null without two in 7 d
    {word}.lowest
        as {word}_lowest_7d_{unit},             -- lowest of 7 d
    {word}.highest
        as {word}_highest_7d_{unit},            -- highest of 7 d
    {word}.slope_per_day
        as {word}_slope_7d_{unit}_per_day,      -- slope of the straight line through 7 d; null without two
    {word}.since_last_hours
        as {word}_since_last_hours,             -- since the last one was collected
    -- end
    -k.first_of_stay[2]
        as creatinine_first_of_stay_mg_dl,      -- first collected in this stay
    k.lowest_of_stay
        as creatinine_lowest_of_stay_mg_dl,     -- lowest collected in this stay
    k.highest_of_stay
        as creatinine_highest_of_stay_mg_dl,    -- highest collected in this stay
    k.median_365d
        as creatinine_median_365d_mg_dl,        -- median of the days 8 to 365 before
    creatinine.last_value - k.lowest_24h
        as creatinine_rise_24h_mg_dl,           -- last less the lowest of 24 h; null without one in 24 h
    creatinine.last_value - k.lowest_48h
        as creatinine_rise_48h_mg_dl,           -- last less the lowest of 48 h; null without one in 48 h
    creatinine.last_value / nullif(creatinine.lowest, 0)
        as creatinine_to_lowest_7d_ratio,       -- last over the lowest of 7 d, the baseline of KDIGO
    creatinine.last_value / nullif(k.median_365d, 0)
        as creatinine_to_median_365d_ratio,     -- last over the median of the days 8 to 365 before
    case when k.draws_48h > 1 then (k.last_48h[2] + k.first_48h[2]) / ((epoch(k.last_48h[1]) - epoch(k.first_48h[1])) / 86400) end
        as creatinine_slope_48h_mg_dl_per_day,  -- from the first to the last of 48 h; null with fewer than two
    coalesce(k.draws_48h, 0)::double
        as creatinine_draw_48h_count            -- collection times in 48 h
from numbered as s
-- for each {word}
left join trend as {word} on {word}.spine_row = s.spine_row and {word}.analyte = '{word}'
-- end
left join kdigo as k on k.spine_row = s.spine_row
