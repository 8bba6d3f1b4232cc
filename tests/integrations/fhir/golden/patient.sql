with flat as (
with parsed as (
    select record_file, record_line, raw, is_beyond_limits, try(from_json(raw,
        '{"id":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"birthDate":"VARCHAR","gender":"VARCHAR","deceasedBoolean":"BOOLEAN","deceasedDateTime":"VARCHAR","resourceType":"VARCHAR"}')) as resource
    from line_patient
), opened as (
    select *
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
            ) then misfit(raw, '{"id":"text","meta":{"lastUpdated":"text"},"birthDate":"text","gender":"text","deceasedBoolean":"boolean","deceasedDateTime":"text","resourceType":"text"}')
        end as misfit
        from opened
    )
)
select
    record_file,
    record_line,
    problem,
    problem_detail,
    false as is_empty,
    resource.id as "id",
    resource.meta.lastUpdated as "last_updated",
    resource.birthDate as "birth_date",
    resource.gender as "gender",
    resource.deceasedBoolean as "is_deceased",
    resource.deceasedDateTime as "deceased_at"
from judged
)
select * from (
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
)