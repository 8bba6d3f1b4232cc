-- Vital signs of the 48 h before prediction_time in intensive care, as known then, and of the last 24 h of them. One row per
-- spine row; null when not measured in the window. Pressures by catheter and by cuff count alike: a value is of the patient.
-- Of two values of one time the higher stands. Means are of decimals, so no order of rows changes them.
-- codes: 8867-4 heart_rate per_min
-- codes: 9279-1 respiratory_rate per_min
-- codes: 8310-5 temperature cel
-- codes: 76215-3 systolic_pressure mm_hg, 76534-7 systolic_pressure mm_hg, 8480-6 systolic_pressure mm_hg
-- codes: 76213-8 diastolic_pressure mm_hg, 76535-4 diastolic_pressure mm_hg, 8462-4 diastolic_pressure mm_hg
-- codes: 76214-6 mean_pressure mm_hg, 76536-2 mean_pressure mm_hg
-- codes: 9269-2 coma score
-- codes: 3150-6 inspired_oxygen percent
-- codes: 2708-6 oxygen_saturation percent, 59408-5 oxygen_saturation percent
-- hold window: 49 hours
-- owner: intensive care
-- freshness: 6 hours
with numbered as materialized (
    select encounter_id, prediction_time, patient_id, row_number() over () as spine_row from spine
),

person as materialized (
    select s.spine_row, s.prediction_time, p.other_patient_id
    from numbered as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

-- the window holds its first instant: a stay of 48 h begins with it
measured as (
    select
        person.spine_row,
        case
            -- for each {word}
            when o.code in ({codes}) then '{word}'
            -- end
        end as sign,
        o.effective_at,
        o.value_number as value,
        o.value_number::decimal(18, 4) as exact,
        o.effective_at > person.prediction_time - interval 24 hours as is_of_24h
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= person.prediction_time
        and person.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at <= person.prediction_time
        and o.effective_at >= person.prediction_time - interval 48 hours
    where o.code in ({all_codes})
    and o.value_number is not null
),

summed as (
    select
        spine_row,
        sign,
        -min(row(effective_at, -value))[2] as first_value,
        max(row(effective_at, value))[2] as last_value,
        min(value) as lowest,
        max(value) as highest,
        sum(exact)::double / count(*) as mean,
        min(value) filter (where is_of_24h) as lowest_24h,
        max(value) filter (where is_of_24h) as highest_24h,
        sum(exact) filter (where is_of_24h)::double / nullif(count(*) filter (where is_of_24h), 0) as mean_24h
    from measured
    group by all
)

select
    s.encounter_id,
    s.prediction_time,
    -- for each {word}
    max(v.first_value) filter (where v.sign = '{word}')
        as {word}_first_48h_{unit},             -- first of 48 h
    max(v.last_value) filter (where v.sign = '{word}')
        as {word}_last_48h_{unit},              -- last of 48 h
    max(v.lowest) filter (where v.sign = '{word}')
        as {word}_lowest_48h_{unit},            -- lowest of 48 h
    max(v.highest) filter (where v.sign = '{word}')
        as {word}_highest_48h_{unit},           -- highest of 48 h
    max(v.mean) filter (where v.sign = '{word}')
        as {word}_mean_48h_{unit},              -- mean of the values of 48 h
    max(v.lowest_24h) filter (where v.sign = '{word}')
        as {word}_lowest_24h_{unit},            -- lowest of the last 24 h
    max(v.highest_24h) filter (where v.sign = '{word}')
        as {word}_highest_24h_{unit},           -- highest of the last 24 h
    max(v.mean_24h) filter (where v.sign = '{word}')
        as {word}_mean_24h_{unit},              -- mean of the values of the last 24 h
    -- end
from numbered as s
left join summed as v on v.spine_row = s.spine_row
group by s.spine_row, s.encounter_id, s.prediction_time
