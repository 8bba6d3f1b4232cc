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
-- each line of outcomes: what is wrong in it, and how the stay ended; of the lines of one RecordID the first counts
outcome as (
    select
        record_file,
        record_line,
        "RecordID" as record_id,
        try_cast("Length_of_stay" as integer) as stay_days,
        "In-hospital_death" as is_death,
        case
            when "RecordID" is null then 'RecordID'
            when "In-hospital_death" is null or "In-hospital_death" not in ('0', '1') then 'In-hospital_death'
            when stay_days is null or stay_days < -1 then 'Length_of_stay'
        end as bad_field,
        case when stay_days >= 0 then strftime(date '2000-01-01' + greatest(stay_days, 2), '%Y-%m-%d') end as ended_at,
        case when stay_days < 0 then null when is_death = '1' then 'died' else 'other' end as disposition,
        row_number() over same_stay = 1 as is_first,
        first_value(row("Length_of_stay", "In-hospital_death")) over same_stay
            = row("Length_of_stay", "In-hospital_death") as is_as_the_first
    from outcomes
    window same_stay as (partition by "RecordID" order by record_file, record_line)
),
-- the record of a file: the stay, with its end if the extract has its outcome
record_of_file as (
    select
        stays.record_file,
        stays.record_line,
        case when sent_before = 'other' then 'sent_twice' end as problem,
        'RecordID' as problem_detail,
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
    left join outcome on outcome.record_id = stays.record_id and outcome.is_first and outcome.bad_field is null
),
-- the record of a line of outcomes: the end of a stay that is known already. Of one whose file is in this extract it says
-- nothing more than the record of the file, so it is out of scope there.
place_of_line as (
    select
        outcome.*,
        outcome.record_id in (select record_id from stays) as has_its_file,
        known_encounter.encounter_id is not null as has_known_stay
    from outcome
    left join known_encounter on known_encounter.encounter_id = outcome.record_id
),
record_of_line as (
    select
        record_file,
        record_line,
        case
            when bad_field is not null then 'bad_value'
            when not is_first and not is_as_the_first then 'sent_twice'
            when not has_its_file and not has_known_stay then 'unknown_stay'
        end as problem,
        coalesce(bad_field, 'RecordID') as problem_detail,
        case when not is_first then 'sent_twice' when has_its_file then 'read_with_its_stay' end as out_of_scope_reason,
        record_id,
        null as service,
        ended_at,
        disposition
    from place_of_line
),
record as (
    select * from record_of_file
    union all
    select * from record_of_line
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
    coalesce(record.ended_at, known_encounter.ended_at) as ended_at,
    case when record.ended_at is null then known_encounter.discharge_disposition else disposition end
        as discharge_disposition,
    coalesce(record.service, known_encounter.service, 'icu') as service
from record
left join known_encounter on known_encounter.encounter_id = record.record_id
