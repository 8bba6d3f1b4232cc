-- The two published scores of readmission, LACE and HOSPITAL, by their parts, from what is known at prediction_time. One row per
-- spine row. They are meant for the discharge; before it they say how things stand now. A part that is not known is null, and so is
-- the sum. An episode is this inpatient stay with those before it, less than 24 h from an end to the next start.
-- LACE: van Walraven et al., CMAJ 2010;182:551-7, https://doi.org/10.1503/cmaj.091117. Comorbidity counts as LACE counts it
-- (lace_points.csv, over the lists of charlson.csv); the lists do not tell mild from severe renal disease: two points.
-- HOSPITAL: Donze et al., JAMA Intern Med 2013;173:632-8, https://doi.org/10.1001/jamainternmed.2013.3023.
-- What each part needs: length of stay and admissions, the stay; acute and urgent, an admission type; comorbidity, a diagnosis in
-- ICD; emergency visits, a feed of the site that tells of them; hemoglobin and sodium, a result of this episode, of the last 7 d;
-- oncology, a service of clinical_services.csv; procedure, one of this stay coded in ICD, or a feed of the site that tells of them in the stay.
-- Beyond the hold window, 180 days: emergency visits, which no code holds. Beyond the hold window, 365 days: admissions, likewise.
-- codes: 718-7 hemoglobin g_dl
-- codes: 2951-2 sodium mmol_l
-- no codes: lace_length_score, lace_acute_score, lace_comorbidity_score, lace_emergency_score, lace_score
-- no codes: hospital_oncology_score, hospital_procedure_score, hospital_urgent_score, hospital_admission_score, hospital_length_score
-- hold window: 7 days
-- owner: clinical informatics
-- freshness: 24 hours
with person as materialized (
    select s.encounter_id, s.prediction_time, p.other_patient_id
    from spine as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

contact as (
    select
        person.encounter_id,
        person.prediction_time,
        e.encounter_id as contact_id,
        e.source,
        e.class,
        e.admission_type,
        e.service,
        e.started_at,
        e.ended_at
    from person
    join encounter as e
        on e.patient_id = person.other_patient_id
        and e.available_at <= person.prediction_time
        and person.prediction_time < e.superseded_at
        and not e.is_retracted
        and e.started_at <= person.prediction_time
),

-- the latest end of the inpatient stays that began earlier; one without a known end lasts until now
inpatient as (
    select
        *,
        max(coalesce(ended_at, prediction_time)) over (
            partition by encounter_id, prediction_time
            order by started_at, contact_id
            rows between unbounded preceding and 1 preceding
        ) as earlier_ended_at
    from contact
    where class = 'inpatient'
),

episode as (
    select
        *,
        max(case when earlier_ended_at is null or started_at >= earlier_ended_at + interval 24 hours then started_at end) over (
            partition by encounter_id, prediction_time
            order by started_at, contact_id
            rows between unbounded preceding and current row
        ) as episode_started_at,
        coalesce(ended_at, prediction_time) as until_at
    from inpatient
),

-- days as a hospital counts them: midnights passed, by its own clock
this_stay as (
    select
        episode.*,
        (until_at at time zone feed.time_zone)::date - (episode_started_at at time zone feed.time_zone)::date as days
    from episode
    join feed on feed.source = episode.source
    where contact_id = encounter_id
),

counted as (
    select
        t.encounter_id,
        t.prediction_time,
        count(*) filter (
            where c.class = 'emergency'
            and c.started_at <= t.episode_started_at - interval 24 hours
            and c.started_at > t.episode_started_at - interval 180 days
        ) as emergency_visits,
        count(*) filter (
            where c.class = 'inpatient'
            and c.started_at < t.episode_started_at
            and c.ended_at > t.episode_started_at - interval 365 days
        ) as admissions
    from this_stay as t
    join contact as c
        on c.encounter_id = t.encounter_id
        and c.prediction_time = t.prediction_time
    group by t.encounter_id, t.prediction_time
),

coded as (
    select distinct code_system, code from condition where code_system in ('icd-9-cm', 'icd-10-cm')
),

-- a code without points stays: it says that the patient has been coded
listed as (
    select coded.code_system, coded.code, lace_points.family, lace_points.points::int as points
    from coded
    left join charlson
        on charlson.code_system = coded.code_system
        and starts_with(coded.code, charlson.prefix)
    left join lace_points on lace_points.condition = charlson.condition
),

-- of two forms of one disease the graver counts alone
diagnosed as (
    select person.encounter_id, person.prediction_time, listed.family, max(listed.points) as points
    from person
    join condition as c
        on c.patient_id = person.other_patient_id
        and c.available_at <= person.prediction_time
        and person.prediction_time < c.superseded_at
        and not c.is_retracted
    join listed
        on listed.code_system = c.code_system
        and listed.code = c.code
    group by person.encounter_id, person.prediction_time, listed.family
),

comorbid as (
    select encounter_id, prediction_time, coalesce(sum(points), 0) as points
    from diagnosed
    group by encounter_id, prediction_time
),

staying as materialized (
    select t.*, person.other_patient_id
    from this_stay as t
    join person
        on person.encounter_id = t.encounter_id
        and person.prediction_time = t.prediction_time
),

-- of two values of one time the higher stands
result as (
    select
        t.encounter_id,
        t.prediction_time,
        -- for each {word}
        max(row(o.effective_at, o.value_number)) filter (where o.code in ({codes}))[2] as {word},
        -- end
    from staying as t
    join observation as o
        on o.patient_id = t.other_patient_id
        and o.available_at <= t.prediction_time
        and t.prediction_time < o.superseded_at
        and not o.is_retracted
        and o.effective_at >= t.episode_started_at
        and o.effective_at <= t.until_at
        and o.effective_at > t.prediction_time - interval 7 days
    where o.code in ({all_codes})
    and o.value_number is not null
    group by t.encounter_id, t.prediction_time
),

-- a procedure that does not say its stay belongs to the one in whose time it was done
operated as (
    select distinct t.encounter_id, t.prediction_time
    from staying as t
    join procedure as p
        on p.patient_id = t.other_patient_id
        and p.available_at <= t.prediction_time
        and t.prediction_time < p.superseded_at
        and not p.is_retracted
        and p.effective_at <= t.prediction_time
        and coalesce(p.encounter_id = t.encounter_id, p.effective_at between t.started_at and t.until_at)
    where p.code_system in ('icd-9-pcs', 'icd-10-pcs')
),

-- what the feeds of a site tell: emergency visits, and procedures while the stay lasts
telling as (
    select
        site_id,
        bool_or(not list_contains(not_told, 'encounter:emergency')) as is_of_visits,
        bool_or(list_contains(tables, 'procedure') and not list_contains(not_told, 'procedure:of_this_stay')) as is_of_procedures
    from feed
    group by site_id
),

part as (
    select
        s.encounter_id,
        s.prediction_time,
        case
            when t.days >= 14 then 7
            when t.days >= 7 then 5
            when t.days >= 4 then 4
            else t.days
        end as lace_length,
        (t.admission_type in ('emergency', 'urgent'))::int * 3 as lace_acute,
        case when comorbid.points >= 4 then 5 else comorbid.points end as lace_comorbidity,
        case
            when not telling.is_of_visits then null
            when counted.emergency_visits > 4 then 4
            else counted.emergency_visits
        end as lace_emergency,
        (result.hemoglobin < 12)::int as hemoglobin,
        services.is_oncology::int * 2 as oncology,
        (result.sodium < 135)::int as sodium,
        case
            when operated.encounter_id is not null then 1
            when telling.is_of_procedures and t.contact_id is not null then 0
        end as operation,
        (t.admission_type in ('emergency', 'urgent'))::int as urgent,
        case
            when counted.admissions > 5 then 5
            when counted.admissions > 0 then 2
            else counted.admissions
        end as admission,
        (t.days >= 5)::int * 2 as length
    from spine as s
    left join this_stay as t
        on t.encounter_id = s.encounter_id
        and t.prediction_time = s.prediction_time
    left join clinical_services as services on services.service = lower(t.service)
    left join comorbid
        on comorbid.encounter_id = s.encounter_id
        and comorbid.prediction_time = s.prediction_time
    left join counted
        on counted.encounter_id = s.encounter_id
        and counted.prediction_time = s.prediction_time
    left join result
        on result.encounter_id = s.encounter_id
        and result.prediction_time = s.prediction_time
    left join operated
        on operated.encounter_id = s.encounter_id
        and operated.prediction_time = s.prediction_time
    left join telling on telling.site_id = s.site_id
)

select
    encounter_id,
    prediction_time,
    lace_length::double
        as lace_length_score,                   -- L, 0 to 7: days of the episode until discharge, or until now
    lace_acute::double
        as lace_acute_score,                    -- A, 3 for an emergency or urgent admission
    lace_comorbidity::double
        as lace_comorbidity_score,              -- C, 0 to 5, from the diagnoses known
    lace_emergency::double
        as lace_emergency_score,                -- E, 0 to 4: emergency visits in the 180 d before, not the one that led here
    (lace_length + lace_acute + lace_comorbidity + lace_emergency)::double
        as lace_score,                          -- sum, 0 to 19; null where a part is
    hemoglobin::double
        as hemoglobin_hospital_score,           -- H, 1 where the last hemoglobin of the episode is below 12 g/dL
    oncology::double
        as hospital_oncology_score,             -- O, 2 on an oncology service
    sodium::double
        as sodium_hospital_score,               -- S, 1 where the last sodium of the episode is below 135 mmol/L
    operation::double
        as hospital_procedure_score,            -- P, 1 where a procedure of this stay is known
    urgent::double
        as hospital_urgent_score,               -- IT, 1 for an emergency or urgent admission
    admission::double
        as hospital_admission_score,            -- A, 0, 2 (1 to 5) or 5: inpatient stays that ended in the 365 d before the episode
    length::double
        as hospital_length_score,               -- L, 2 from 5 days on
    (hemoglobin + oncology + sodium + operation + urgent + admission + length)::double
        as hospital_score                       -- sum, 0 to 13; null where a part is
from part
