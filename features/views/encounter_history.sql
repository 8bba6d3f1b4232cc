-- This stay and the contacts before it, as known at prediction_time. One row per spine row; null when the stay is not known.
-- An episode is this inpatient stay with the earlier ones joined to it: less than 24 h from an end to the next start.
-- Earlier contacts are counted back from the start of the episode. An emergency visit begun less than 24 h before it led to it and
-- is not counted. Where no feed of the site tells of emergency visits, their counts are null.
-- codes: none
-- hold window: 0 hours
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
        e.class,
        e.admission_type,
        e.admission_source,
        e.discharge_disposition,
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
        ) as episode_started_at
    from inpatient
),

this_stay as (
    select * from episode where contact_id = encounter_id
),

earlier as (
    select
        this_stay.encounter_id,
        this_stay.prediction_time,
        c.class,
        c.started_at,
        c.ended_at,
        this_stay.episode_started_at
    from this_stay
    join contact as c
        on c.encounter_id = this_stay.encounter_id
        and c.prediction_time = this_stay.prediction_time
        and c.started_at < this_stay.episode_started_at
),

counted as (
    select
        encounter_id,
        prediction_time,
        count(*) filter (
            where class = 'inpatient' and ended_at > episode_started_at - interval 365 days
        ) as inpatient_stays,
        count(*) filter (
            where class = 'observation' and ended_at > episode_started_at - interval 365 days
        ) as observation_stays,
        count(*) filter (
            where class = 'emergency'
            and started_at <= episode_started_at - interval 24 hours
            and started_at > episode_started_at - interval 180 days
        ) as emergency_visits_180d,
        count(*) filter (
            where class = 'emergency'
            and started_at <= episode_started_at - interval 24 hours
            and started_at > episode_started_at - interval 365 days
        ) as emergency_visits_365d,
        max(ended_at) filter (where class = 'inpatient') as last_discharged_at
    from earlier
    group by encounter_id, prediction_time
),

-- sites of which a feed tells of emergency visits
visiting as (
    select distinct site_id from feed where not list_contains(not_told, 'encounter:emergency')
)

select
    s.encounter_id,
    s.prediction_time,
    case when t.contact_id is not null then coalesce(c.inpatient_stays, 0) end::double
        as prior_inpatient_stay_365d_count,     -- inpatient stays that ended in the 365 d before the episode
    case when t.contact_id is not null then coalesce(c.observation_stays, 0) end::double
        as prior_observation_stay_365d_count,   -- observation stays that ended in the 365 d before the episode
    case when t.contact_id is not null and visiting.site_id is not null then coalesce(c.emergency_visits_180d, 0) end::double
        as prior_emergency_visit_180d_count,    -- emergency visits begun in the 180 d before the episode
    case when t.contact_id is not null and visiting.site_id is not null then coalesce(c.emergency_visits_365d, 0) end::double
        as prior_emergency_visit_365d_count,    -- emergency visits begun in the 365 d before the episode
    (epoch(t.episode_started_at) - epoch(c.last_discharged_at)) / 86400
        as since_last_discharge_days,           -- from the last inpatient discharge to the episode; null when there was none
    (epoch(coalesce(t.ended_at, s.prediction_time)) - epoch(t.episode_started_at)) / 86400
        as stay_length_days,                    -- from the start of the episode to discharge, or to now
    (epoch(coalesce(t.ended_at, s.prediction_time)) - epoch(t.started_at)) / 3600
        as in_stay_hours,                       -- from this admission to discharge, or to now
    (t.admission_type in ('emergency', 'urgent'))::int::double
        as is_emergency_admission,              -- emergency or urgent
    (t.admission_type = 'elective')::int::double
        as is_elective_admission,               -- planned
    (t.admission_source = 'emergency_department')::int::double
        as is_from_emergency_department,        -- admitted through the emergency department
    (t.admission_source in ('acute_hospital', 'skilled_nursing'))::int::double
        as is_from_facility,                    -- admitted from another hospital or a nursing facility
    (t.discharge_disposition = 'home')::int::double
        as is_discharged_home,                  -- home without services; null while in the house
    (t.discharge_disposition = 'home_health')::int::double
        as is_discharged_with_home_health,      -- home with services; null while in the house
    (t.discharge_disposition in ('skilled_nursing', 'rehab', 'long_term_care', 'psychiatric'))::int::double
        as is_discharged_to_facility            -- to a facility that is no acute hospital; null while in the house
from spine as s
left join visiting on visiting.site_id = s.site_id
left join this_stay as t
    on t.encounter_id = s.encounter_id
    and t.prediction_time = s.prediction_time
left join counted as c
    on c.encounter_id = s.encounter_id
    and c.prediction_time = s.prediction_time
