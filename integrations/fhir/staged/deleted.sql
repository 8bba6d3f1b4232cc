-- One staged row per deletion that a bulk export tells of, of one type of resource: it withdraws the fact, without content.
-- A record is a Bundle of deletions; one that deletes only resources of other types gives a row without a fact.
with parsed as (
    select
        record_file,
        record_line,
        try(from_json(
            raw, '{"resourceType":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"entry":[{"request":{"method":"VARCHAR","url":"VARCHAR"}}]}'
        )) as bundle
    from line_deleted
),
named as (
    select
        record_file,
        record_line,
        bundle,
        list_transform(
            bundle.entry,
            lambda each: {
                'is_delete': coalesce(each.request.method = 'DELETE', false),
                'key': any_reference_key(each.request.url),
                'own_key': reference_key(each.request.url, $resource_type)
            }
        ) as deletions
    from parsed
),
judged as (
    select
        *,
        case
            when bundle is null then 'not_json'
            when bundle.resourceType is distinct from 'Bundle' then 'wrong_type'
            when coalesce(len(deletions), 0) = 0 then 'missing_field'
            when len(list_filter(deletions, lambda each: not each.is_delete)) > 0 then 'bad_value'
            when len(list_filter(deletions, lambda each: each.key is null)) > 0 then 'bad_value'
        end as problem,
        case
            when coalesce(len(deletions), 0) = 0 then 'entry'
            when len(list_filter(deletions, lambda each: not each.is_delete)) > 0 then 'entry.request.method'
            else 'entry.request.url'
        end as problem_detail,
        list_filter(deletions, lambda each: each.own_key is not null) as own
    from named
)
select
    record_file,
    record_line,
    problem,
    case when problem in ('missing_field', 'bad_value') then problem_detail end as problem_detail,
    problem is null and len(own) = 0 as is_empty,
    case when problem is null and len(own) = 0 then 'deletes_other_types' end as out_of_scope_reason,
    bundle.meta.lastUpdated as issued_at,
    true as is_retracted,
    unnest(case when problem is null and len(own) > 0 then own else [null] end).own_key as deleted_key
from judged
