with flat as (
with parsed as (
    select record_file, record_line, raw, is_beyond_limits, try(from_json(raw,
        '{"id":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"identifier":"JSON","resourceType":"VARCHAR"}')) as resource
    from line_patient_link
), opened as (
    select *,
        from_json(resource.identifier, '[{"system":"VARCHAR","value":"VARCHAR"}]') as resource_identifier
    from parsed
), judged as (
    select *, misfit as problem_detail, case
        when is_beyond_limits then 'beyond_limits'
        when resource is null then 'not_json'
        when resource.resourceType is distinct from 'Patient' then 'wrong_type'
        when coalesce(resource.id, '') = '' then 'missing_id'
        when misfit = 'not json' then 'not_json'
        when misfit is not null then 'bad_value'
    end as problem
    from (
        select *, case
            when resource.resourceType = 'Patient' and (
                (resource.meta is not null and ((resource.meta.lastUpdated is null)))
                or (resource.identifier is not null and (not starts_with(resource.identifier, '[') or len(list_filter(resource_identifier, lambda part_1: (part_1.system is null and part_1.value is null))) > 0))
            ) then misfit(raw, '{"id":"text","meta":{"lastUpdated":"text"},"identifier":[{"system":"text","value":"text"}],"resourceType":"text"}')
        end as misfit
        from opened
    )
), settled as (
    select *,
        resource.id as "id.1",
        resource.meta.lastUpdated as "last_updated.1"
    from judged
), placed as (
    select * exclude (place), place.*, place is null as is_rowless
    from (
        select *, unnest(coalesce(nullif(case when problem is distinct from 'not_json' and problem is distinct from 'wrong_type' then [{each_1_place: each_1_place} for each_1, each_1_place in resource_identifier] end, []), [null])) as place
        from settled
    )
), spread as (
    select *,
        resource_identifier[each_1_place] as each_1
    from placed
)
select
    record_file,
    record_line,
    problem,
    problem_detail,
    problem is null and is_rowless as is_empty,
    "id.1" as "id",
    "last_updated.1" as "last_updated",
    each_1.system as "system",
    each_1.value as "value"
from spread
)
select * from (
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
)