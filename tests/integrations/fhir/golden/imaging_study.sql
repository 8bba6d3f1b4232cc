with flat as (
with parsed as (
    select record_file, record_line, raw, is_beyond_limits, try(from_json(raw,
        '{"id":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"subject":{"reference":"VARCHAR"},"encounter":{"reference":"VARCHAR"},"status":"VARCHAR","started":"VARCHAR","series":"JSON","modality":"JSON","numberOfSeries":"JSON","resourceType":"VARCHAR"}')) as resource
    from line_imaging_study
), opened as (
    select *,
        from_json(resource.series, '[{"modality":{"code":"VARCHAR"},"bodySite":{"code":"VARCHAR"}}]') as resource_series,
        from_json(resource.modality, '[{"code":"VARCHAR"}]') as resource_modality
    from parsed
), judged as (
    select *, misfit as problem_detail, case
        when is_beyond_limits then 'beyond_limits'
        when resource is null then 'not_json'
        when resource.resourceType is distinct from 'ImagingStudy' then 'wrong_type'
        when coalesce(resource.id, '') = '' then 'missing_id'
        when misfit = 'not json' then 'not_json'
        when misfit is not null then 'bad_value'
    end as problem
    from (
        select *, case
            when resource.resourceType = 'ImagingStudy' and (
                (resource.meta is not null and ((resource.meta.lastUpdated is null)))
                or (resource.subject is not null and ((resource.subject.reference is null)))
                or (resource.encounter is not null and ((resource.encounter.reference is null)))
                or (resource.series is not null and (not starts_with(resource.series, '[') or len(list_filter(resource_series, lambda part_1: (part_1.modality is null and part_1.bodySite is null) or (part_1.modality is not null and ((part_1.modality.code is null))) or (part_1.bodySite is not null and ((part_1.bodySite.code is null))))) > 0))
                or (resource.modality is not null and (not starts_with(resource.modality, '[') or len(list_filter(resource_modality, lambda part_1: (part_1.code is null))) > 0))
                or (resource.numberOfSeries is not null and try_cast(resource.numberOfSeries::varchar as double) is null)
            ) then misfit(raw, '{"id":"text","meta":{"lastUpdated":"text"},"subject":{"reference":"text"},"encounter":{"reference":"text"},"status":"text","started":"text","series":[{"modality":{"code":"text"},"bodySite":{"code":"text"}}],"modality":[{"code":"text"}],"numberOfSeries":"number","resourceType":"text"}')
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
    reference_key(resource.subject.reference, 'Patient') as "patient_id",
    reference_key(resource.encounter.reference, 'Encounter') as "encounter_id",
    resource.status as "status",
    resource.started as "started",
    resource_series[1].modality.code as "modality_of_series",
    [modality_1.code for modality_1 in resource_modality if modality_1.code is not null][1] as "modality_of_study",
    [bodySite_3.code for bodySite_3 in [serie_2.bodySite for serie_2 in resource_series if serie_2.bodySite is not null] if bodySite_3.code is not null][1] as "body_site",
    try_cast(resource.numberOfSeries::varchar as bigint) as "series_count",
    coalesce(len(resource_series), 0) as "series_listed"
from judged
)
select * from (
-- One staged row per ImagingStudy resource. A study that is only registered, or was cancelled, has no images: out of scope.
with judged as (
    select
        *,
        case when problem is null and status = 'registered' then 'pending'
            when problem is null and status = 'cancelled' then 'cancelled' end as out_of_scope_reason,
        problem is null and status not in ('registered', 'available', 'cancelled', 'entered-in-error', 'unknown')
            as is_status_unknown
    from flat
)
select
    record_file,
    record_line,
    case when is_status_unknown then 'bad_value' else problem end as problem,
    case when is_status_unknown then 'status' else problem_detail end as problem_detail,
    out_of_scope_reason is not null as is_empty,
    out_of_scope_reason,
    patient_id,
    started as effective_at,
    last_updated as issued_at,
    coalesce(status = 'entered-in-error', false) as is_retracted,
    case when out_of_scope_reason is null then id end as imaging_study_id,
    encounter_id,
    coalesce(modality_of_series, modality_of_study) as modality,
    body_site,
    coalesce(series_count, nullif(series_listed, 0))::integer as series_count
from judged
)