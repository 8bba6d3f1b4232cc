-- Who is cared for, where and how, in the 48 h before prediction_time in intensive care, as known then: the kind of unit by the
-- service of the stay, age and weight as sent, urine, ventilation. One row per spine row; null when nothing was charted, which is
-- not the same as none: no urine charted is not 0. A kind of unit is null when the service is none of intensive care.
-- codes: 30525-0 age years, 29463-7 weight kg, 9187-6 urine ml, 20124-4 ventilation hours
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

-- the window holds its first instant, which belongs to its first hour: a stay of 48 h begins with it
charted as (
    select
        person.spine_row,
        o.code,
        o.effective_at,
        o.value_number as value,
        o.value_number::decimal(18, 4) as exact,
        least(date_sub('hour', o.effective_at, person.prediction_time), 47) as hours_ago,
        o.effective_at > person.prediction_time - interval 24 hours as is_of_24h
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= person.prediction_time
        and person.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at <= person.prediction_time
        and o.effective_at >= person.prediction_time - interval 48 hours
    where o.code in ('30525-0', '29463-7', '9187-6', '20124-4')
),

unit as (
    select s.spine_row, max(e.service) as service
    from numbered as s
    join encounter as e
        on e.encounter_id = s.encounter_id
        and e.available_at <= s.prediction_time
        and s.prediction_time < e.superseded_at
        and not e.is_retracted
    where e.service in ('coronary_care_unit', 'cardiac_surgery_recovery_unit', 'medical_icu', 'surgical_icu')
    group by s.spine_row
)

select
    s.encounter_id,
    s.prediction_time,
    max((unit.service = 'coronary_care_unit')::double)
        as is_coronary_care,                    -- coronary care unit
    max((unit.service = 'cardiac_surgery_recovery_unit')::double)
        as is_cardiac_surgery_recovery,         -- cardiac surgery recovery unit
    max((unit.service = 'medical_icu')::double)
        as is_medical_icu,                      -- medical intensive care unit
    max((unit.service = 'surgical_icu')::double)
        as is_surgical_icu,                     -- surgical intensive care unit
    max(c.value) filter (where c.code = '30525-0')
        as age_charted_years,                   -- age in years as it was sent
    -(min(row(c.effective_at, -c.value)) filter (where c.code = '29463-7' and c.value is not null))[2]
        as weight_first_48h_kg,                 -- first weight of 48 h
    (sum(c.exact) filter (where c.code = '9187-6'))::double
        as urine_48h_ml,                        -- urine of 48 h
    (sum(c.exact) filter (where c.code = '9187-6' and c.is_of_24h))::double
        as urine_24h_ml,                        -- urine of the last 24 h
    nullif(count(c.value) filter (where c.code = '9187-6'), 0)::double
        as urine_charted_48h_count,             -- how often urine was charted in 48 h
    nullif(count(distinct c.hours_ago) filter (where c.code = '20124-4'), 0)::double
        as ventilation_48h_hours,               -- hours of 48 in which ventilation was charted
    (min(c.hours_ago) filter (where c.code = '20124-4'))::double
        as ventilation_since_last_hours,        -- hours since ventilation was charted last
from numbered as s
left join charted as c on c.spine_row = s.spine_row
left join unit on unit.spine_row = s.spine_row
group by s.spine_row, s.encounter_id, s.prediction_time
