-- Vital signs of the 24 h before prediction_time, as known then: the last, the lowest and the highest. One row per spine row.
-- Null when not measured in the window. Of two values of one time the higher stands. Oxygen saturation is that of 59408-5 or 2708-6.
-- codes: 8867-4 heart_rate per_min
-- codes: 8480-6 systolic_pressure mm_hg
-- codes: 9279-1 respiratory_rate per_min
-- codes: 59408-5 oxygen_saturation percent
-- codes: 2708-6 oxygen_saturation percent
-- codes: 8310-5 temperature cel
-- hold window: 24 hours
-- owner: clinical informatics
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

-- 2708-6 stands beside 59408-5 in vital signs profiles and means the same there
summed as (
    select
        person.spine_row,
        case
            -- for each {word}
            when o.code in ({codes}) then '{word}'
            -- end
        end as sign,
        max(row(o.effective_at, o.value_number))[2] as last_value,
        min(o.value_number) as lowest,
        max(o.value_number) as highest
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= person.prediction_time
        and person.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at <= person.prediction_time
        and o.effective_at > person.prediction_time - interval 24 hours
    where o.code in ({all_codes})
    and o.value_number is not null
    group by all
)

select
    s.encounter_id,
    s.prediction_time,
    -- for each {word}
    max(v.last_value) filter (where v.sign = '{word}')
        as {word}_last_{unit},                  -- last of 24 h
    max(v.lowest) filter (where v.sign = '{word}')
        as {word}_lowest_{unit},                -- lowest of 24 h
    max(v.highest) filter (where v.sign = '{word}')
        as {word}_highest_{unit},               -- highest of 24 h
    -- end
from numbered as s
left join summed as v on v.spine_row = s.spine_row
group by s.spine_row, s.encounter_id, s.prediction_time
