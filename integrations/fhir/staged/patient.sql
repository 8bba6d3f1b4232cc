-- One staged row per Patient resource. A death may come as a time, a day, a year or month (too coarse to be an instant:
-- only that the patient is dead is kept), or as deceasedBoolean alone.
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
    coalesce(is_deceased, deceased_at is not null) as is_deceased,
    case when not regexp_full_match(deceased_at, '\d{4}(-(0[1-9]|1[0-2]))?') then deceased_at end as deceased_at
from flat
