-- Does creatinine rise to AKI (KDIGO 2012, creatinine part) in the 48 h after prediction_time? One row per eligible cohort row.
-- AKI: a creatinine at least 0.3 mg/dL above any of the 48 h before it, or at least 1.5 times the lowest of the 7 days before it;
-- where those hold none, 1.5 times the median of the days 8 to 365 before. By collection time, all as known at $as_of.
-- No creatinine in the window, or discharged before its end without AKI: no label. 0 and 1 only once 48 h and lateness are over.
with index_row as (
    select
        cohort.encounter_id,
        cohort.prediction_time,
        cohort.patient_id,
        cohort.prediction_time + interval 48 hours as window_ends_at,
        cohort.prediction_time + interval 48 hours + late.lateness as label_known_at
    from cohort
    join (select site_id, max(lateness) as lateness from feed group by site_id) as late on late.site_id = cohort.site_id
    where cohort.excluded_reason is null
),

person as (
    select distinct i.patient_id, p.other_patient_id
    from (select distinct patient_id from index_row) as i
    join same_person as p
        on p.patient_id = i.patient_id
        and p.available_at <= $as_of
        and $as_of < p.superseded_at
),

creatinine as (
    select person.patient_id, o.effective_at, o.value_number as value
    from person
    join observation as o
        on o.patient_id = person.other_patient_id
        and o.available_at <= $as_of
        and $as_of < o.superseded_at
        and not o.is_retracted
    where o.code = '2160-0'
    and o.value_number is not null
),

compared as (
    select
        *,
        min(value) over (
            partition by patient_id order by effective_at
            range between interval 48 hours preceding and interval 1 microsecond preceding
        ) as lowest_48h,
        min(value) over (
            partition by patient_id order by effective_at
            range between interval 7 days preceding and interval 1 microsecond preceding
        ) as lowest_7d,
        median(value) over (
            partition by patient_id order by effective_at
            range between interval 365 days preceding and interval '7 days 1 microsecond' preceding
        ) as median_365d
    from creatinine
),

judged as (
    select
        patient_id,
        effective_at,
        coalesce(round(value - lowest_48h, 6) >= 0.3, false)
        or coalesce(round(value - 1.5 * coalesce(lowest_7d, median_365d), 6) >= 0, false) as is_aki
    from compared
),

measured as (
    select i.encounter_id, i.prediction_time, min(j.effective_at) filter (where j.is_aki) as aki_at
    from index_row as i
    join judged as j
        on j.patient_id = i.patient_id
        and j.effective_at > i.prediction_time
        and j.effective_at <= i.window_ends_at
    group by i.encounter_id, i.prediction_time
),

outcome as (
    select
        i.encounter_id,
        i.prediction_time,
        i.label_known_at,
        measured.aki_at,
        case
            when e.encounter_id is null then 'stay_withdrawn'
            when $as_of < i.label_known_at then 'window_open'
            when measured.aki_at is not null then 'aki'
            when e.ended_at < i.window_ends_at then 'discharged_early'
            when measured.encounter_id is null then 'no_creatinine'
            else 'no_aki'
        end as label_reason
    from index_row as i
    left join measured
        on measured.encounter_id = i.encounter_id
        and measured.prediction_time = i.prediction_time
    left join stay_now as e
        on e.encounter_id = i.encounter_id
        and e.patient_id = i.patient_id
)

select
    encounter_id,
    prediction_time,
    case label_reason when 'aki' then 1 when 'no_aki' then 0 end::tinyint as label,
    label_known_at,
    label_reason,
    -- an early event of an open window is shown, and not a label
    aki_at as event_at
from outcome
