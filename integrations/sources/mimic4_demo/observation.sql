-- observation: laboratory results from the Parquet file of laboratory events, and weight, height, body mass index and
-- blood pressure from omr.csv.
-- A laboratory row has neither id nor stay: patient, item, time and value are its key, and it belongs to the stay during
-- which, or during whose hours in the emergency department, the specimen was taken.
-- A blood pressure 120/80 gives two rows, systolic and diastolic; a date alone is all that omr.csv says of the time.
with stay as (
    select
        subject_id,
        hadm_id,
        least(try_cast(admittime as timestamp), try_cast(edregtime as timestamp)) as started_at,
        try_cast(dischtime as timestamp) as ended_at
    from admissions
),
stay_of_lab as (
    select labs.record_line, arg_max(stay.hadm_id, stay.started_at) as hadm_id
    from labs
    join stay
        on stay.subject_id = labs.subject_id
        and try_cast(labs.time as timestamp) between stay.started_at and stay.ended_at
    group by labs.record_line
),
laboratory_result as (
    select
        record_file,
        record_line,
        case when "value" is null then true end as is_empty,
        case when "value" is null then 'no_value' end as out_of_scope_reason,
        subject_id as patient_id,
        time as effective_at,
        md5(concat_ws('|', subject_id, itemid, time, "value")) as observation_id,
        hadm_id as encounter_id,
        'laboratory' as category,
        'urn:mimic-iv:d_labitems' as local_system,
        itemid as local_code,
        try_cast("value" as double) as value_number,
        uom as unit
    from labs
    left join stay_of_lab using (record_line)
),
outpatient_reading as (
    select
        *,
        unnest(
            case
                when result_name <> 'Blood Pressure' then [result_name]
                else ['Blood Pressure, systolic', 'Blood Pressure, diastolic']
            end
        ) as reading_name,
        case result_name
            when 'Weight (Lbs)' then '[lb_av]'
            when 'Height (Inches)' then '[in_i]'
            when 'BMI (kg/m2)' then 'kg/m2'
            when 'Blood Pressure' then 'mm[Hg]'
        end as unit
    from outpatient_records
),
outpatient_result as (
    select
        record_file,
        record_line,
        false as is_empty,
        null as out_of_scope_reason,
        subject_id as patient_id,
        chartdate as effective_at,
        md5(concat_ws('|', subject_id, chartdate, seq_num, reading_name)) as observation_id,
        null as encounter_id,
        'vital_signs' as category,
        'urn:mimic-iv:omr' as local_system,
        reading_name as local_code,
        try_cast(
            case reading_name
                when 'Blood Pressure, systolic' then regexp_extract(result_value, '^(\d+)/(\d+)$', 1)
                when 'Blood Pressure, diastolic' then regexp_extract(result_value, '^(\d+)/(\d+)$', 2)
                else result_value
            end as double
        ) as value_number,
        unit,
        result_value
    from outpatient_reading
),
result as (
    select *, null as result_value from laboratory_result
    union all by name
    select * from outpatient_result
)
select
    * exclude (result_value),
    case when value_number is null then result_value end as value_text,
    'final' as status
from result
