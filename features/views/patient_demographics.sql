-- Age and sex of the patient, as known at prediction_time. One row per spine row; null when not known.
-- Age is in completed years on the calendar day of the hospital. Of several records of one person the patient's own comes first.
-- codes: none
-- hold window: 0 hours
-- owner: clinical informatics
-- freshness: 24 hours
with person as materialized (
    select s.encounter_id, s.prediction_time, s.patient_id, p.other_patient_id
    from spine as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

known as (
    select
        person.encounter_id,
        person.prediction_time,
        row(person.other_patient_id <> person.patient_id, person.other_patient_id) as turn,
        date_sub('year', patient.birth_date, (person.prediction_time at time zone feed.time_zone)::date) as age_years,
        nullif(patient.sex, 'unknown') as sex
    from person
    join patient
        on patient.patient_id = person.other_patient_id
        and patient.available_at <= person.prediction_time
        and person.prediction_time < patient.superseded_at
        and not patient.is_retracted
    join feed on feed.source = patient.source
),

chosen as (
    select encounter_id, prediction_time, min_by(age_years, turn) as age_years, min_by(sex, turn) as sex
    from known
    group by encounter_id, prediction_time
)

select
    s.encounter_id,
    s.prediction_time,
    chosen.age_years::double as age_years,             -- completed years
    (chosen.sex = 'female')::int::double as is_female, -- administrative sex
    (chosen.sex = 'male')::int::double as is_male      -- administrative sex
from spine as s
left join chosen
    on chosen.encounter_id = s.encounter_id
    and chosen.prediction_time = s.prediction_time
