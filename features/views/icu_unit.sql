-- The kind of intensive care that a stay is in, by its service as known at prediction_time. One row per spine row; null when the
-- service is not known, or is none of intensive care.
-- codes: none
-- hold window: 0 hours
-- owner: intensive care
-- freshness: 48 hours
with unit as (
    select s.encounter_id, s.prediction_time, max(o.service) as service
    from spine as s
    join encounter as o
        on o.encounter_id = s.encounter_id
        and o.available_at <= s.prediction_time
        and s.prediction_time < o.superseded_at
        and not o.is_retracted
    where o.service in ('coronary_care_unit', 'cardiac_surgery_recovery_unit', 'medical_icu', 'surgical_icu')
    group by s.encounter_id, s.prediction_time
)

select
    s.encounter_id,
    s.prediction_time,
    (unit.service = 'coronary_care_unit')::double
        as is_coronary_care,                    -- coronary care unit
    (unit.service = 'cardiac_surgery_recovery_unit')::double
        as is_cardiac_surgery_recovery,         -- cardiac surgery recovery unit
    (unit.service = 'medical_icu')::double
        as is_medical_icu,                      -- medical intensive care unit
    (unit.service = 'surgical_icu')::double
        as is_surgical_icu,                     -- surgical intensive care unit
from spine as s
left join unit
    on unit.encounter_id = s.encounter_id
    and unit.prediction_time = s.prediction_time
