with flat as (
with parsed as (
    select record_file, record_line, raw, is_beyond_limits, try(from_json(raw,
        '{"id":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"subject":{"reference":"VARCHAR"},"encounter":{"reference":"VARCHAR"},"status":"VARCHAR","performedDateTime":"VARCHAR","performedPeriod":"JSON","code":{"coding":[{"system":"VARCHAR","code":"VARCHAR"}]},"resourceType":"VARCHAR"}')) as resource
    from line_procedure
), opened as (
    select *,
        from_json(resource.performedPeriod, '{"start":"VARCHAR"}') as resource_performedPeriod
    from parsed
), judged as (
    select *, misfit as problem_detail, case
        when is_beyond_limits then 'beyond_limits'
        when resource is null then 'not_json'
        when resource.resourceType is distinct from 'Procedure' then 'wrong_type'
        when coalesce(resource.id, '') = '' then 'missing_id'
        when misfit = 'not json' then 'not_json'
        when misfit is not null then 'bad_value'
    end as problem
    from (
        select *, case
            when resource.resourceType = 'Procedure' and (
                (resource.meta is not null and ((resource.meta.lastUpdated is null)))
                or (resource.subject is not null and ((resource.subject.reference is null)))
                or (resource.encounter is not null and ((resource.encounter.reference is null)))
                or (resource.performedPeriod is not null and (not starts_with(resource.performedPeriod, '{')))
                or (resource.code is not null and ((resource.code.coding is null) or (resource.code.coding is null and json_type(raw, '$.code.coding') <> 'NULL') or len(list_filter(resource.code.coding, lambda part_1: (part_1.system is null and part_1.code is null))) > 0))
            ) then misfit(raw, '{"id":"text","meta":{"lastUpdated":"text"},"subject":{"reference":"text"},"encounter":{"reference":"text"},"status":"text","performedDateTime":"text","performedPeriod":{"start":"text"},"code":{"coding":[{"system":"text","code":"text"}]},"resourceType":"text"}')
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
    resource.performedDateTime as "performed",
    resource_performedPeriod.start as "performed_start",
    list_filter(resource.code.coding, lambda item_1: (item_1.system = 'http://www.cms.gov/Medicare/Coding/ICD10'))[1].code as "icd_10_pcs",
    list_filter(resource.code.coding, lambda item_2: (item_2.system = 'http://hl7.org/fhir/sid/icd-9-cm'))[1].code as "icd_9_pcs",
    list_filter(resource.code.coding, lambda item_3: (item_3.system = 'http://www.ama-assn.org/go/cpt'))[1].code as "cpt",
    list_filter(resource.code.coding, lambda item_4: (item_4.system = 'http://snomed.info/sct'))[1].code as "snomed",
    resource.code.coding[1].code as "any_code"
from judged
)
select * from (
-- One staged row per Procedure resource. Of several codings the one of ICD-10-PCS counts, then ICD-9, CPT, SNOMED CT.
with worded as (
    select
        *,
        case
            when status in ('preparation', 'on-hold') then 'planned'
            when status = 'not-done' then 'not_done'
        end as out_of_scope,
        case
            when icd_10_pcs is not null then 'icd-10-pcs'
            when icd_9_pcs is not null then 'icd-9-pcs'
            when cpt is not null then 'cpt'
            when snomed is not null then 'snomed'
        end as system_word
    from flat
),
judged as (
    select
        *,
        case
            when problem is not null or out_of_scope is not null then null
            when status not in ('in-progress', 'stopped', 'completed', 'entered-in-error', 'unknown') then 'status'
            when system_word is null and any_code is not null then 'code.coding.system'
        end as unknown_code
    from worded
)
select
    record_file,
    record_line,
    case when unknown_code is not null then 'bad_value' else problem end as problem,
    coalesce(unknown_code, problem_detail) as problem_detail,
    problem is null and out_of_scope is not null as is_empty,
    case when problem is null then out_of_scope end as out_of_scope_reason,
    patient_id,
    coalesce(performed, performed_start) as effective_at,
    last_updated as issued_at,
    coalesce(status = 'entered-in-error', false) as is_retracted,
    case when problem is not null or out_of_scope is null then id end as procedure_id,
    encounter_id,
    system_word as code_system,
    replace(coalesce(icd_10_pcs, icd_9_pcs, cpt, snomed), '.', '') as code
from judged
)