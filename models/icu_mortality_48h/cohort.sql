-- Every stay in intensive care, 48 h after it began, while the patient is still there. One row per stay; where the time of admission
-- is corrected before its 48 h are over, the corrected one counts.
-- Eligible: the stay is known by then, has not ended, and the patient is not known to be dead. The horizon starts at prediction_time.
-- Nothing is used that was not known at prediction_time; lapsed_reason alone says what has become known by $as_of.
with stay as (
    select
        e.site_id,
        e.patient_id,
        e.encounter_id,
        e.started_at + interval 48 hours as prediction_time
    from encounter as e
    join feed on feed.source = e.source
    where e.class = 'inpatient'
    and e.service in ('coronary_care_unit', 'cardiac_surgery_recovery_unit', 'medical_icu', 'surgical_icu', 'icu')
    and e.available_at <= e.started_at + interval 48 hours
    and e.superseded_at > e.started_at + interval 48 hours
    and e.started_at + interval 48 hours <= $as_of
    and e.ended_at is null
    and not e.is_retracted
)

select
    stay.site_id,
    stay.patient_id,
    stay.encounter_id,
    stay.prediction_time,
    case when patient.is_deceased then 'died' end as excluded_reason,
    case
        when stay_now.encounter_id is null then 'withdrawn'
        when stay_now.ended_at is not null then 'ended_since'
    end as lapsed_reason,
    null::timestamptz as horizon_starts_at
from stay
-- what was known then of the patient
left join patient
    on patient.patient_id = stay.patient_id
    and patient.available_at <= stay.prediction_time
    and stay.prediction_time < patient.superseded_at
    and not patient.is_retracted
left join stay_now
    on stay_now.encounter_id = stay.encounter_id
    and stay_now.patient_id = stay.patient_id
