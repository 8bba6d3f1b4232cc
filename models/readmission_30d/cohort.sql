-- Every inpatient discharge, at the time it became known. One row per stay and time at which it turned from open to ended.
-- Eligible: not known to be dead, 18 years or older on the day of discharge, not against advice, not to an acute hospital or
-- hospice, and known before its 30 days are over. The horizon starts at the discharge itself.
-- Nothing is used that was not known at prediction_time; lapsed_reason alone says what has become known by $as_of.
with version as (
    select
        e.*,
        feed.time_zone,
        e.class = 'inpatient' and e.ended_at is not null and not e.is_retracted as is_discharge
    from encounter as e
    join feed on feed.source = e.source
    where e.available_at <= $as_of
    and e.available_at < e.superseded_at
),

turned as (
    select
        *,
        lag(is_discharge, 1, false) over (partition by encounter_id order by available_at) as was_discharge,
        lag(patient_id) over (partition by encounter_id order by available_at) as was_of
    from version
),

discharge as (
    select
        site_id,
        patient_id,
        encounter_id,
        available_at as prediction_time,
        ended_at,
        discharge_disposition,
        (ended_at at time zone time_zone)::date as discharge_date
    from turned
    where is_discharge
    and (
        not was_discharge
        -- the discharge of another person until then: theirs by mistake
        or not exists (
            from same_person as p
            where p.patient_id = turned.patient_id
            and p.other_patient_id = turned.was_of
            and p.available_at <= turned.available_at
            and turned.available_at < p.superseded_at
        )
    )
),

-- materialized: what is joined by time is first found by whose it is
number as materialized (
    select d.encounter_id, d.prediction_time, d.patient_id, p.other_patient_id
    from discharge as d
    join same_person as p
        on p.patient_id = d.patient_id
        and p.available_at <= d.prediction_time
        and d.prediction_time < p.superseded_at
),

-- of several records of one person the patient's own comes first
person as (
    select
        n.encounter_id,
        n.prediction_time,
        min_by(patient.birth_date, row(n.other_patient_id <> n.patient_id, n.other_patient_id)) as birth_date,
        bool_or(patient.is_deceased) as is_deceased
    from number as n
    join patient
        on patient.patient_id = n.other_patient_id
        and patient.available_at <= n.prediction_time
        and n.prediction_time < patient.superseded_at
        and not patient.is_retracted
    group by n.encounter_id, n.prediction_time
),

-- a death that is known now
death as (
    select distinct d.encounter_id
    from discharge as d
    join same_person as p
        on p.patient_id = d.patient_id
        and p.available_at <= $as_of
        and $as_of < p.superseded_at
    join patient
        on patient.patient_id = p.other_patient_id
        and patient.available_at <= $as_of
        and $as_of < patient.superseded_at
        and not patient.is_retracted
    where patient.is_deceased
)

select
    d.site_id,
    d.patient_id,
    d.encounter_id,
    d.prediction_time,
    case
        when d.discharge_disposition = 'died' then 'died'
        -- a death that is known already, on the ward or at home, wherever the patient was sent
        when person.is_deceased then 'died'
        when d.ended_at <= d.prediction_time - interval 30 days then 'horizon_past'
        when person.birth_date is null then 'age_unknown'
        when date_sub('year', person.birth_date, d.discharge_date) < 18 then 'under_18'
        when d.discharge_disposition = 'against_advice' then 'against_advice'
        when d.discharge_disposition = 'acute_hospital' then 'to_acute_hospital'
        when d.discharge_disposition = 'hospice' then 'to_hospice'
    end as excluded_reason,
    case
        -- open again; or gone, for it was given to another or entered in error
        when stay_now.ended_at is null then 'withdrawn'
        -- no inpatient stay after all
        when stay_now.class <> 'inpatient' then 'withdrawn'
        when stay_now.discharge_disposition = 'died' then 'died_since'
        when death.encounter_id is not null then 'died_since'
    end as lapsed_reason,
    d.ended_at as horizon_starts_at
from discharge as d
left join person
    on person.encounter_id = d.encounter_id
    and person.prediction_time = d.prediction_time
left join stay_now
    on stay_now.encounter_id = d.encounter_id
    and stay_now.patient_id = d.patient_id
left join death on death.encounter_id = d.encounter_id
