-- observation from the lines of each stay: hours and minutes from admission to intensive care, which is midnight here.
-- -1 stands for a descriptor that is not known. A line has no number: of equal parameters at one time the first, second
-- and so on are facts of their own, so that one that is sent again with another value is a correction of it.
-- Of two files of one RecordID the first by name counts: lines of another one that differs are faults, and hold what they are of.
-- MechVent says that the patient was ventilated at this time, and nothing where not.
with sent as (
    select
        measurements.record_file,
        measurements.record_line,
        "Time",
        "Parameter",
        "Value",
        record_id,
        sent_before,
        row_number() over (partition by record_file, "Time", "Parameter" order by measurements.record_line) as position,
        try_cast("Value" as double) as number,
        timestamp '2000-01-01' + to_minutes(
            60 * try_cast(nullif(regexp_extract("Time", '^(\d{1,4}):(\d\d)$', 1), '') as integer)
            + try_cast(nullif(regexp_extract("Time", '^(\d{1,4}):(\d\d)$', 2), '') as integer)
        ) as charted_at
    from measurements
    join stays using (record_file)
),
judged as (
    select
        *,
        case
            when sent_before = 'the_same' then 'sent_twice'
            when "Parameter" in ('Age', 'Height', 'Weight') and number = -1 then 'not_known'
        end as out_of_scope_reason
    from sent
)
select
    record_file,
    record_line,
    out_of_scope_reason is not null as is_empty,
    out_of_scope_reason,
    case when sent_before = 'other' then 'sent_twice' when charted_at is null then 'bad_time' end as problem,
    case when sent_before = 'other' then 'RecordID' when charted_at is null then 'Time' end as problem_detail,
    record_id as patient_id,
    strftime(charted_at, '%Y-%m-%d %H:%M:%S') as effective_at,
    concat_ws('|', record_id, "Time", "Parameter", position) as observation_id,
    record_id as encounter_id,
    case
        when "Parameter" in ('GCS', 'Age', 'MechVent') then 'survey'
        when "Parameter" in (
            'HR', 'Temp', 'RespRate', 'SysABP', 'DiasABP', 'MAP', 'NISysABP', 'NIDiasABP', 'NIMAP', 'Weight', 'Height',
            'Urine', 'FiO2'
        ) then 'vital_signs'
        else 'laboratory'
    end as category,
    'urn:physionet:challenge-2012' as local_system,
    "Parameter" as local_code,
    case when "Parameter" <> 'MechVent' then number end as value_number,
    case
        when "Parameter" in ('Albumin') then 'g/dL'
        when "Parameter" in ('BUN', 'Bilirubin', 'Cholesterol', 'Creatinine', 'Glucose', 'Mg') then 'mg/dL'
        when "Parameter" in ('Na', 'K') then 'mEq/L'
        when "Parameter" in ('HCO3', 'Lactate') then 'mmol/L'
        when "Parameter" in ('ALP', 'ALT', 'AST') then '[IU]/L'
        when "Parameter" in ('DiasABP', 'MAP', 'NIDiasABP', 'NIMAP', 'NISysABP', 'SysABP', 'PaCO2', 'PaO2')
            then 'mm[Hg]'
        when "Parameter" in ('HR', 'RespRate') then '/min'
        when "Parameter" in ('Platelets', 'WBC') then '10*9/L'
        when "Parameter" in ('TroponinI', 'TroponinT') then 'ug/L'
        when "Parameter" in ('HCT', 'SaO2') then '%'
        when "Parameter" = 'FiO2' then '1'
        when "Parameter" = 'GCS' then '{score}'
        when "Parameter" = 'pH' then '[pH]'
        when "Parameter" = 'Temp' then 'Cel'
        when "Parameter" = 'Urine' then 'mL'
        when "Parameter" = 'Weight' then 'kg'
        when "Parameter" = 'Height' then 'cm'
        when "Parameter" = 'Age' then 'a'
    end as unit,
    case
        when "Parameter" = 'MechVent' and "Value" = '1' then 'mechanical ventilation'
        when number is null then "Value"
    end as value_text,
    'final' as status
from judged
