with flat as (
with parsed as (
    select record_file, record_line, raw, is_beyond_limits, try(from_json(raw,
        '{"id":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"subject":{"reference":"VARCHAR"},"status":"VARCHAR","period":{"start":"VARCHAR","end":"VARCHAR"},"location":"JSON","resourceType":"VARCHAR"}')) as resource
    from line_encounter_location
), opened as (
    select *,
        from_json(resource.location, '[{"location":{"display":"VARCHAR","reference":"VARCHAR"},"status":"VARCHAR","period":{"start":"VARCHAR","end":"VARCHAR"}}]') as resource_location
    from parsed
), judged as (
    select *, misfit as problem_detail, case
        when is_beyond_limits then 'beyond_limits'
        when resource is null then 'not_json'
        when resource.resourceType is distinct from 'Encounter' then 'wrong_type'
        when coalesce(resource.id, '') = '' then 'missing_id'
        when misfit = 'not json' then 'not_json'
        when misfit is not null then 'bad_value'
    end as problem
    from (
        select *, case
            when resource.resourceType = 'Encounter' and (
                (resource.meta is not null and ((resource.meta.lastUpdated is null)))
                or (resource.subject is not null and ((resource.subject.reference is null)))
                or (resource.period is not null and ((resource.period.start is null and resource.period.end is null)))
                or (resource.location is not null and (not starts_with(resource.location, '[') or len(list_filter(resource_location, lambda part_1: (part_1.location is null and part_1.status is null and part_1.period is null) or (part_1.location is not null and ((part_1.location.display is null and part_1.location.reference is null))) or (part_1.period is not null and ((part_1.period.start is null and part_1.period.end is null))))) > 0))
            ) then misfit(raw, '{"id":"text","meta":{"lastUpdated":"text"},"subject":{"reference":"text"},"status":"text","period":{"start":"text","end":"text"},"location":[{"location":{"display":"text","reference":"text"},"status":"text","period":{"start":"text","end":"text"}}],"resourceType":"text"}')
        end as misfit
        from opened
    )
), settled as (
    select *,
        resource.id as "id.1",
        resource.meta.lastUpdated as "last_updated.1",
        reference_key(resource.subject.reference, 'Patient') as "patient_id.1",
        resource.status as "encounter_status.1",
        resource.period.start as "encounter_started_at.1",
        resource.period.end as "encounter_ended_at.1"
    from judged
), placed as (
    select * exclude (place), place.*, place is null as is_rowless
    from (
        select *, unnest(coalesce(nullif(case when problem is distinct from 'not_json' and problem is distinct from 'wrong_type' then [{each_1_place: each_1_place} for each_1, each_1_place in resource_location] end, []), [null])) as place
        from settled
    )
), spread as (
    select *,
        resource_location[each_1_place] as each_1
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
    "patient_id.1" as "patient_id",
    "encounter_status.1" as "encounter_status",
    "encounter_started_at.1" as "encounter_started_at",
    "encounter_ended_at.1" as "encounter_ended_at",
    (each_1_place - 1) as "place",
    each_1.location.display as "ward_name",
    any_reference_key(each_1.location.reference) as "ward_key",
    each_1.status as "status",
    each_1.period.start as "started_at",
    each_1.period.end as "ended_at"
from spread
)
select * from (
-- One staged row per location of an Encounter resource. Only the first may go without a time: it starts with the stay.
with scoped as (
    select
        *,
        case
            when problem is not null then null
            when is_empty then 'no_location'
            when encounter_status in ('planned', 'cancelled') then encounter_status
            when status in ('planned', 'reserved') then 'planned'
        end as out_of_scope_reason,
        coalesce(started_at, case when place = 0 then encounter_started_at end) as begun_at
    from flat
)
select
    record_file,
    record_line,
    problem,
    problem_detail,
    out_of_scope_reason is not null as is_empty,
    out_of_scope_reason,
    patient_id,
    begun_at as effective_at,
    last_updated as issued_at,
    coalesce(encounter_status = 'entered-in-error', false) as is_retracted,
    case when out_of_scope_reason is null then id || '#' || (place + 1) end as location_id,
    id as encounter_id,
    coalesce(ward_name, ward_key) as ward,
    begun_at as started_at,
    ended_at
from scoped
)