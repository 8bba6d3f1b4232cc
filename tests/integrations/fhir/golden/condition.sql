with flat as (
with parsed as (
    select record_file, record_line, raw, is_beyond_limits, try(from_json(raw,
        '{"id":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"subject":{"reference":"VARCHAR"},"encounter":{"reference":"VARCHAR"},"verificationStatus":"JSON","category":[{"coding":[{"code":"VARCHAR"}]}],"recordedDate":"VARCHAR","onsetDateTime":"VARCHAR","onsetPeriod":"JSON","code":{"coding":[{"system":"VARCHAR","code":"VARCHAR"}]},"resourceType":"VARCHAR"}')) as resource
    from line_condition
), opened as (
    select *,
        from_json(resource.verificationStatus, '{"coding":[{"code":"VARCHAR"}]}') as resource_verificationStatus,
        from_json(resource.onsetPeriod, '{"start":"VARCHAR"}') as resource_onsetPeriod
    from parsed
), judged as (
    select *, misfit as problem_detail, case
        when is_beyond_limits then 'beyond_limits'
        when resource is null then 'not_json'
        when resource.resourceType is distinct from 'Condition' then 'wrong_type'
        when coalesce(resource.id, '') = '' then 'missing_id'
        when misfit = 'not json' then 'not_json'
        when misfit is not null then 'bad_value'
    end as problem
    from (
        select *, case
            when resource.resourceType = 'Condition' and (
                (resource.meta is not null and ((resource.meta.lastUpdated is null)))
                or (resource.subject is not null and ((resource.subject.reference is null)))
                or (resource.encounter is not null and ((resource.encounter.reference is null)))
                or (resource.verificationStatus is not null and (not starts_with(resource.verificationStatus, '{') or (resource_verificationStatus.coding is null) or len(list_filter(resource_verificationStatus.coding, lambda part_1: (part_1.code is null))) > 0))
                or (resource.category is null and json_type(raw, '$.category') <> 'NULL')
                or len(list_filter(resource.category, lambda part_1: (part_1.coding is null) or len(list_filter(part_1.coding, lambda part_2: (part_2.code is null))) > 0)) > 0
                or (resource.onsetPeriod is not null and (not starts_with(resource.onsetPeriod, '{')))
                or (resource.code is not null and ((resource.code.coding is null) or (resource.code.coding is null and json_type(raw, '$.code.coding') <> 'NULL') or len(list_filter(resource.code.coding, lambda part_1: (part_1.system is null and part_1.code is null))) > 0))
            ) then misfit(raw, '{"id":"text","meta":{"lastUpdated":"text"},"subject":{"reference":"text"},"encounter":{"reference":"text"},"verificationStatus":{"coding":[{"code":"text"}]},"category":[{"coding":[{"code":"text"}]}],"recordedDate":"text","onsetDateTime":"text","onsetPeriod":{"start":"text"},"code":{"coding":[{"system":"text","code":"text"}]},"resourceType":"text"}')
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
    resource_verificationStatus.coding[1].code as "verification",
    resource.category[1].coding[1].code as "category",
    resource.recordedDate as "recorded_at",
    resource.onsetDateTime as "onset",
    resource_onsetPeriod.start as "onset_start",
    list_filter(resource.code.coding, lambda item_1: (item_1.system = 'http://hl7.org/fhir/sid/icd-10-cm'))[1].code as "icd_10_cm",
    list_filter(resource.code.coding, lambda item_2: (item_2.system = 'http://hl7.org/fhir/sid/icd-9-cm'))[1].code as "icd_9_cm",
    list_filter(resource.code.coding, lambda item_3: (item_3.system = 'http://snomed.info/sct'))[1].code as "snomed",
    resource.code.coding[1].code as "any_code"
from judged
)
select * from (
-- One staged row per Condition resource. Of several codings the one of ICD-10-CM counts, then ICD-9-CM, then SNOMED CT.
-- A diagnosis that was refuted is withdrawn like one entered in error. Without a category it is of the stay, if it has one.
with worded as (
    select
        *,
        case
            when category = 'encounter-diagnosis' then 'encounter'
            when category in ('problem-list-item', 'health-concern') then 'problem'
            when category in ('billing', 'billing-diagnosis') then 'billing'
            when category is null and encounter_id is not null then 'encounter'
            when category is null then 'problem'
        end as kind_word,
        case
            when icd_10_cm is not null then 'icd-10-cm'
            when icd_9_cm is not null then 'icd-9-cm'
            when snomed is not null then 'snomed'
        end as system_word
    from flat
),
judged as (
    select
        *,
        case
            when problem is not null then null
            when kind_word is null then 'category'
            when system_word is null and any_code is not null then 'code.coding.system'
        end as unknown_code
    from worded
)
select
    record_file,
    record_line,
    case when unknown_code is not null then 'bad_value' else problem end as problem,
    coalesce(unknown_code, problem_detail) as problem_detail,
    is_empty,
    null::varchar as out_of_scope_reason,
    patient_id,
    coalesce(onset, onset_start, recorded_at) as effective_at,
    coalesce(recorded_at, last_updated) as issued_at,
    coalesce(verification in ('entered-in-error', 'refuted'), false) as is_retracted,
    id as condition_id,
    encounter_id,
    kind_word as kind,
    system_word as code_system,
    replace(coalesce(icd_10_cm, icd_9_cm, snomed), '.', '') as code,
    null::integer as rank
from judged
)