-- One staged row per identifier of a Patient resource that has both a namespace and a value.
with identified as (
    select
        *,
        case
            when problem is not null then null
            when is_empty then 'no_identifier'
            when system is null or value is null then 'identifier_without_namespace'
        end as out_of_scope_reason
    from flat
)
select
    record_file,
    record_line,
    problem,
    problem_detail,
    out_of_scope_reason is not null as is_empty,
    out_of_scope_reason,
    id as patient_id,
    null::varchar as effective_at,
    last_updated as issued_at,
    false as is_retracted,
    case when out_of_scope_reason is null then id || '|' || system || '|' || value end as link_id,
    system,
    value
from identified
