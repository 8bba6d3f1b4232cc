-- Was there an unplanned inpatient admission from 24 h to 30 days after the discharge? One row per eligible cohort row.
-- Counted from the discharge itself; 0 and 1 only once 30 days and the lateness of the feed are over. All as known at $as_of.
-- Elective and observation stays do not count; a stay that begins within 24 h belongs to the same episode: no label.
-- Death first: 0, kept apart by its reason. The card names the published measure and the differences.
with index_stay as (
    select
        cohort.encounter_id,
        cohort.prediction_time,
        cohort.patient_id,
        e.started_at,
        e.ended_at,
        e.discharge_disposition,
        e.ended_at + interval 30 days as window_ends_at,
        e.ended_at + interval 30 days + feed.lateness as label_known_at
    from cohort
    left join stay_now as e
        on e.encounter_id = cohort.encounter_id
        and e.patient_id = cohort.patient_id
        and e.class = 'inpatient'
    left join feed on feed.source = e.source
    where cohort.excluded_reason is null
),

later_stay as (
    select
        i.encounter_id,
        i.prediction_time,
        e.started_at,
        e.started_at < i.ended_at + interval 24 hours as is_same_episode,
        e.started_at <= i.window_ends_at
        and e.admission_type is distinct from 'elective'
        and e.admission_type is distinct from 'observation' as is_readmission
    from index_stay as i
    join stay_now as e
        on e.patient_id = i.patient_id
        and e.class = 'inpatient'
        and e.encounter_id <> i.encounter_id
        and e.started_at >= i.started_at
        -- a stay that overlaps the discharge is the same episode too
        and greatest(e.started_at, coalesce(e.ended_at, timestamptz 'infinity')) >= i.ended_at
),

followed as (
    select
        encounter_id,
        prediction_time,
        bool_or(is_same_episode) as is_same_episode,
        min(started_at) filter (where is_readmission and not is_same_episode) as readmitted_at
    from later_stay
    group by encounter_id, prediction_time
),

death as (
    select p.patient_id, min(patient.deceased_at) as deceased_at
    from (select distinct patient_id from index_stay) as i
    join same_person as p
        on p.patient_id = i.patient_id
        and p.available_at <= $as_of
        and $as_of < p.superseded_at
    join patient
        on patient.patient_id = p.other_patient_id
        and patient.available_at <= $as_of
        and $as_of < patient.superseded_at
        and not patient.is_retracted
    group by p.patient_id
),

outcome as (
    select
        i.encounter_id,
        i.prediction_time,
        i.label_known_at,
        followed.readmitted_at,
        case when death.deceased_at <= i.window_ends_at then death.deceased_at end as died_at,
        case
            when i.ended_at is null then 'discharge_withdrawn'
            when i.discharge_disposition = 'died' then 'not_discharged_alive'
            when followed.is_same_episode then 'same_episode'
            when $as_of < i.label_known_at then 'window_open'
            when died_at < coalesce(followed.readmitted_at, timestamptz 'infinity') then 'died_first'
            when followed.readmitted_at is not null then 'readmitted'
            else 'not_readmitted'
        end as label_reason
    from index_stay as i
    left join followed
        on followed.encounter_id = i.encounter_id
        and followed.prediction_time = i.prediction_time
    left join death on death.patient_id = i.patient_id
)

select
    encounter_id,
    prediction_time,
    case
        when label_reason = 'readmitted' then 1
        when label_reason in ('not_readmitted', 'died_first') then 0
    end::tinyint as label,
    label_known_at,
    label_reason,
    -- an early event of an open window is shown, and not a label
    case when label_reason in ('readmitted', 'died_first', 'window_open') then least(readmitted_at, died_at) end as event_at
from outcome
