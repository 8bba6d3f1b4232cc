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
),

-- what is known now of the stay, unless it has been given to another person
now as (
    select stay.encounter_id, stay.prediction_time, e.is_retracted, e.ended_at
    from stay
    join same_person as p
        on p.patient_id = stay.patient_id
        and p.available_at <= $as_of
        and $as_of < p.superseded_at
    join encounter as e
        on e.encounter_id = stay.encounter_id
        and e.patient_id = p.other_patient_id
        and e.available_at <= $as_of
        and $as_of < e.superseded_at
)

select
    stay.site_id,
    stay.patient_id,
    stay.encounter_id,
    stay.prediction_time,
    case when patient.is_deceased then 'died' end as excluded_reason,
    case
        when coalesce(now.is_retracted, true) then 'withdrawn'
        when now.ended_at is not null then 'ended_since'
    end as lapsed_reason,
    null::timestamptz as horizon_starts_at
from stay
-- what was known then of the patient
left join patient
    on patient.patient_id = stay.patient_id
    and patient.available_at <= stay.prediction_time
    and stay.prediction_time < patient.superseded_at
    and not patient.is_retracted
left join now
    on now.encounter_id = stay.encounter_id
    and now.prediction_time = stay.prediction_time
