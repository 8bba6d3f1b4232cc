-- Inpatient stays at 00, 06, 12 and 18 h hospital time, from the first creatinine available on. One row per stay and hour.
-- Excluded: dialysis or end-stage renal disease, a baseline of 4.0 mg/dL or more, AKI already met in this stay, and no creatinine
-- collected in the 7 d before the round. A day later the rounds end, until there is a creatinine again: a stay that nobody ever
-- ends would have them for ever. The horizon starts at the round.
-- Creatinine is 2160-0, serum or plasma; whole blood is not mixed in.
-- Nothing is used that was not known at prediction_time; lapsed_reason alone says what has become known by $as_of.
with stay as (
    -- while this version was what was known, the patient was in the house
    select
        e.site_id,
        e.patient_id,
        e.encounter_id,
        e.started_at,
        greatest(e.available_at, e.started_at) as known_from,
        least(e.superseded_at, $as_of + interval 1 microsecond) as known_until,
        feed.time_zone
    from encounter as e
    join feed on feed.source = e.source
    where e.class = 'inpatient'
    and e.ended_at is null
    and not e.is_retracted
),

person as (
    select stay.patient_id, p.other_patient_id, p.available_at, p.superseded_at
    from (select distinct patient_id from stay) as stay
    join same_person as p on p.patient_id = stay.patient_id
),

-- each creatinine with the time during which it was known
creatinine as (
    select
        person.patient_id,
        o.effective_at,
        o.value_number as value,
        greatest(o.available_at, person.available_at) as known_from,
        least(o.superseded_at, person.superseded_at) as known_until
    from person
    join observation as o on o.patient_id = person.other_patient_id
    where o.code = '2160-0'
    -- without a time of collection it would be followed for ever: greatest and least pass over what is null
    and o.value_number is not null and o.effective_at is not null
    and not o.is_retracted
),

-- a stay and a creatinine of the 8 d before a round, while both were known
followed as (
    select
        stay.* exclude (known_from, known_until),
        c.effective_at,
        c.value,
        greatest(stay.known_from, c.known_from, c.effective_at) as first_at,
        least(stay.known_until, c.known_until, c.effective_at + interval 8 days) as ends_at
    from stay
    join creatinine as c on c.patient_id = stay.patient_id
),

-- days and hours of the wall clock, so that a change of the clock moves no round
hospital_hour as (
    select
        *,
        unnest(generate_series(
            date_trunc('day', first_at at time zone time_zone),
            ends_at at time zone time_zone,
            interval 6 hours
        )) at time zone time_zone as prediction_time
    from followed
),

-- the baseline is the lowest of 7 d; where those hold none, nobody is predicted for
round as (
    select
        site_id,
        patient_id,
        encounter_id,
        started_at,
        prediction_time,
        min(value) filter (where effective_at > prediction_time - interval 7 days) as baseline
    from hospital_hour
    where prediction_time >= first_at
    and prediction_time < ends_at
    group by site_id, patient_id, encounter_id, started_at, prediction_time
    having bool_or(effective_at >= started_at)
),

-- two creatinines that meet KDIGO: 0.3 mg/dL within 48 h, or 1.5 times within 7 d
rise as (
    select
        later.patient_id,
        later.effective_at,
        greatest(later.known_from, earlier.known_from) as known_from,
        least(later.known_until, earlier.known_until) as known_until
    from creatinine as later
    join creatinine as earlier
        on earlier.patient_id = later.patient_id
        and earlier.effective_at < later.effective_at
        and earlier.effective_at >= later.effective_at - interval 7 days
    where round(later.value - 1.5 * earlier.value, 6) >= 0
    or (
        round(later.value - earlier.value, 6) >= 0.3
        and earlier.effective_at >= later.effective_at - interval 48 hours
    )
),

-- a creatinine that may have had none in the 7 d before it, to be judged against the older ones
alone as (
    select * from creatinine as later
    where not exists (
        from creatinine as earlier
        where earlier.patient_id = later.patient_id
        and earlier.effective_at < later.effective_at
        and earlier.effective_at >= later.effective_at - interval 7 days
        and earlier.known_from <= later.known_from
        and earlier.known_until >= later.known_until
    )
),

rise_on_median as (
    select round.encounter_id, round.prediction_time
    from round
    join alone
        on alone.patient_id = round.patient_id
        and alone.known_from <= round.prediction_time
        and round.prediction_time < alone.known_until
        and alone.effective_at <= round.prediction_time
        and alone.effective_at >= round.started_at
    join creatinine as earlier
        on earlier.patient_id = round.patient_id
        and earlier.known_from <= round.prediction_time
        and round.prediction_time < earlier.known_until
        and earlier.effective_at < alone.effective_at
        and earlier.effective_at >= alone.effective_at - interval 365 days
    group by round.encounter_id, round.prediction_time, alone.effective_at, alone.value
    having not bool_or(earlier.effective_at >= alone.effective_at - interval 7 days)
    and round(alone.value - 1.5 * median(earlier.value), 6) >= 0
),

already_met as (
    select round.encounter_id, round.prediction_time
    from round
    join rise
        on rise.patient_id = round.patient_id
        and rise.known_from <= round.prediction_time
        and round.prediction_time < rise.known_until
        and rise.effective_at <= round.prediction_time
        and rise.effective_at >= round.started_at
    union
    select encounter_id, prediction_time from rise_on_median
),

-- end-stage renal disease and dependence on dialysis, from any earlier time
renal_replacement as (
    select person.patient_id, greatest(c.available_at, person.available_at) as known_from,
        least(c.superseded_at, person.superseded_at) as known_until
    from person
    join condition as c on c.patient_id = person.other_patient_id
    where not c.is_retracted
    and (
        (c.code_system = 'icd-10-cm' and (starts_with(c.code, 'N186') or starts_with(c.code, 'Z992')))
        or (c.code_system = 'icd-9-cm' and (starts_with(c.code, '5856') or starts_with(c.code, 'V451')))
        or (c.code_system = 'snomed' and c.code = '46177005')
    )
    union all
    select person.patient_id, greatest(d.available_at, person.available_at), least(d.superseded_at, person.superseded_at)
    from person
    join procedure as d on d.patient_id = person.other_patient_id
    where not d.is_retracted
    and (
        (d.code_system = 'icd-10-pcs' and (starts_with(d.code, '5A1D') or d.code = '3E1M39Z'))
        or (d.code_system = 'icd-9-pcs' and d.code in ('3995', '5498'))
        or (d.code_system = 'cpt' and d.code between '90935' and '90999')
        or (d.code_system = 'snomed' and d.code in ('265764009', '302497006', '71192002'))
    )
),

on_dialysis as (
    select distinct round.encounter_id, round.prediction_time
    from round
    join renal_replacement as r
        on r.patient_id = round.patient_id
        and r.known_from <= round.prediction_time
        and round.prediction_time < r.known_until
)

select
    round.site_id,
    round.patient_id,
    round.encounter_id,
    round.prediction_time,
    case
        when on_dialysis.encounter_id is not null then 'dialysis_or_end_stage'
        when round.baseline >= 4.0 then 'baseline_at_least_4'
        when already_met.encounter_id is not null then 'aki_already_met'
        when round.baseline is null then 'no_recent_creatinine'
    end as excluded_reason,
    -- entered in error, given to another person, or no inpatient stay after all
    case when stay_now.encounter_id is null then 'withdrawn' end as lapsed_reason,
    null::timestamptz as horizon_starts_at
from round
left join on_dialysis
    on on_dialysis.encounter_id = round.encounter_id
    and on_dialysis.prediction_time = round.prediction_time
left join already_met
    on already_met.encounter_id = round.encounter_id
    and already_met.prediction_time = round.prediction_time
left join stay_now
    on stay_now.encounter_id = round.encounter_id
    and stay_now.patient_id = round.patient_id
    and stay_now.class = 'inpatient'
