-- encounter from the file of each stay and, where it came, the file of outcomes: one stay in intensive care.
-- Length_of_stay counts whole days from admission to intensive care to discharge; -1 is not known. A stay without it, or
-- without outcomes, is open. All stays lasted 48 h at least, so none ended before the second day.
-- service: the kind of intensive care (ICUType), known at admission.
with kind_of_care as (
    select record_file, max("Value") as icu_type
    from measurements
    where "Parameter" = 'ICUType'
    group by record_file
),
outcome as (
    select
        "RecordID" as record_id,
        max(try_cast("Length_of_stay" as integer)) as stay_days,
        max("In-hospital_death") as is_death
    from outcomes
    group by "RecordID"
),
stay as (
    select
        stays.*,
        icu_type,
        is_death,
        case when stay_days >= 0 and is_death in ('0', '1') then greatest(stay_days, 2) end as end_day
    from stays
    left join kind_of_care using (record_file)
    left join outcome using (record_id)
)
select
    record_file,
    record_line,
    record_id as patient_id,
    record_id as encounter_id,
    'inpatient' as class,
    '2000-01-01 00:00:00' as effective_at,
    '2000-01-01 00:00:00' as started_at,
    strftime(date '2000-01-01' + end_day, '%Y-%m-%d') as ended_at,
    case when end_day is null then null when is_death = '1' then 'died' else 'other' end as discharge_disposition,
    case icu_type
        when '1' then 'coronary_care_unit'
        when '2' then 'cardiac_surgery_recovery_unit'
        when '3' then 'medical_icu'
        when '4' then 'surgical_icu'
        else 'icu'
    end as service
from stay
