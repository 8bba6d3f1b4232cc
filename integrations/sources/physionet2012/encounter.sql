-- encounter from the file of each stay and the lines of outcomes: one stay in intensive care.
-- Length_of_stay counts whole days from admission to intensive care to discharge; -1 is not known. A stay without it, or
-- without outcomes, is open. All stays lasted 48 h at least, so none ended before the second day.
-- Either may come without the other: what an extract does not tell of a stay is as it is known already, so a stay that is
-- sent again without outcomes does not open again, and outcomes that come alone end the stays that are known.
-- service: the kind of intensive care (ICUType), known at admission.
with kind_of_care as (
    select record_file, max("Value") as icu_type
    from measurements
    where "Parameter" = 'ICUType'
    group by record_file
),
told as (
    select
        record_file,
        record_line,
        "RecordID" as record_id,
        "In-hospital_death" as is_death,
        try_cast("Length_of_stay" as integer) as stay_days,
        row_number() over (partition by "RecordID" order by record_file, record_line) as time_told,
        first_value(row("Length_of_stay", "In-hospital_death")) over (
            partition by "RecordID" order by record_file, record_line
        ) = row("Length_of_stay", "In-hospital_death") as is_same_as_first
    from outcomes
),
outcome as (
    select
        *,
        case
            when record_id is null then 'RecordID'
            when is_death is null or is_death not in ('0', '1') then 'In-hospital_death'
            when stay_days is null or stay_days < -1 then 'Length_of_stay'
        end as bad_field,
        case when stay_days >= 0 then strftime(date '2000-01-01' + greatest(stay_days, 2), '%Y-%m-%d') end as ended_at,
        case when stay_days < 0 then null when is_death = '1' then 'died' else 'other' end as disposition
    from told
),
stay as (
    select
        stays.record_file,
        stays.record_line,
        case when sent_before = 'other' then 'sent_twice' end as problem,
        case when sent_before = 'other' then 'RecordID' end as problem_detail,
        case when sent_before = 'the_same' then 'sent_twice' end as out_of_scope_reason,
        stays.record_id,
        case icu_type
            when '1' then 'coronary_care_unit'
            when '2' then 'cardiac_surgery_recovery_unit'
            when '3' then 'medical_icu'
            when '4' then 'surgical_icu'
        end as service,
        outcome.ended_at,
        outcome.disposition
    from stays
    left join kind_of_care using (record_file)
    left join outcome
        on outcome.record_id = stays.record_id
        and outcome.time_told = 1
        and outcome.bad_field is null
),
outcome_alone as (
    select
        outcome.record_file,
        outcome.record_line,
        case
            when bad_field is not null then 'bad_value'
            when time_told > 1 and not is_same_as_first then 'sent_twice'
            when stays.record_id is null and known_encounter.encounter_id is null then 'unknown_stay'
        end as problem,
        coalesce(bad_field, 'RecordID') as problem_detail,
        case
            when time_told > 1 then 'sent_twice'
            when stays.record_id is not null then 'read_with_its_stay'
        end as out_of_scope_reason,
        outcome.record_id,
        null as service,
        outcome.ended_at,
        outcome.disposition
    from outcome
    left join (select distinct record_id from stays) as stays using (record_id)
    left join known_encounter on known_encounter.encounter_id = outcome.record_id
),
said as (
    select * from stay
    union all
    select * from outcome_alone
)
select
    record_file,
    record_line,
    problem,
    case when problem is not null then problem_detail end as problem_detail,
    out_of_scope_reason is not null as is_empty,
    out_of_scope_reason,
    record_id as patient_id,
    -- an outcome whose stay is not known is no version of it, so a stay that comes without outcome does not replace it
    case when problem is distinct from 'unknown_stay' then record_id end as encounter_id,
    'inpatient' as class,
    '2000-01-01 00:00:00' as effective_at,
    '2000-01-01 00:00:00' as started_at,
    coalesce(said.ended_at, known_encounter.ended_at) as ended_at,
    case when said.ended_at is null then known_encounter.discharge_disposition else disposition end
        as discharge_disposition,
    coalesce(said.service, known_encounter.service, 'icu') as service
from said
left join known_encounter on known_encounter.encounter_id = said.record_id
