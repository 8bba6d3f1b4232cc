-- Did the patient die before leaving the hospital? One row per eligible cohort row, by the stay as known at $as_of.
-- While the stay is open, or its end is not older than the lateness of the slowest feed of the site, there is no label.
with late as (
    select site_id, max(lateness) as lateness from feed group by site_id
),

outcome as (
    select
        cohort.encounter_id,
        cohort.prediction_time,
        e.ended_at,
        e.ended_at + late.lateness as label_known_at,
        case
            when e.encounter_id is null then 'stay_withdrawn'
            when e.ended_at is null then 'in_house'
            when $as_of < e.ended_at + late.lateness then 'window_open'
            when e.discharge_disposition = 'died' then 'died'
            else 'survived'
        end as label_reason,
        e.discharge_disposition = 'died' as is_death
    from cohort
    join late on late.site_id = cohort.site_id
    left join stay_now as e
        on e.encounter_id = cohort.encounter_id
        and e.patient_id = cohort.patient_id
    where cohort.excluded_reason is null
)

select
    encounter_id,
    prediction_time,
    case label_reason when 'died' then 1 when 'survived' then 0 end::tinyint as label,
    label_known_at,
    label_reason,
    -- an early death of an open window is shown, and not a label
    case when is_death then ended_at end as event_at
from outcome
