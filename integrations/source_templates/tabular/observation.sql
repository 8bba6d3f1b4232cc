-- observation from results.csv: one row per laboratory result or vital sign; a row without a value is out of scope.
-- DECIDE how the file names its columns, and what code holds. Here it is LOINC; codes of the hospital's own need a system
-- of their own, such as urn:$source:code, and a row in codes.csv each.
with sent as (
    select
        *,
        nullif(regexp_extract("value", '^\s*(<=|>=|<|>)', 1), '') as sign,
        try_cast(ltrim("value", ' <>=') as double) as number
    from results
)
select
    record_file,
    record_line,
    "value" is null as is_empty,
    case when "value" is null then 'no_value' end as out_of_scope_reason,
    patient_id,
    collected_at as effective_at,
    resulted_at as issued_at,
    observation_id,
    encounter_id,
    'laboratory' as category,
    'http://loinc.org' as local_system,
    code as local_code,
    number as value_number,
    unit,
    case when number is not null then sign end as comparator,
    case when number is null then "value" end as value_text,
    'final' as status
from sent
