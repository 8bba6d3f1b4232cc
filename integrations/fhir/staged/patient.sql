-- One staged row per Patient resource. deceasedBoolean has no time and is not used.
select
    record_file,
    record_line,
    case when problem is null and gender not in ('female', 'male', 'other', 'unknown') then 'bad_value' else problem end as problem,
    case when problem is null and gender not in ('female', 'male', 'other', 'unknown') then 'gender' else problem_detail end as problem_detail,
    is_empty,
    null::varchar as out_of_scope_reason,
    id as patient_id,
    null::varchar as effective_at,
    last_updated as issued_at,
    false as is_retracted,
    birth_date,
    case when gender in ('female', 'male', 'other', 'unknown') then gender end as sex,
    deceased_at
from flat
