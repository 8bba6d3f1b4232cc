with flat as (
with parsed as (
    select record_file, record_line, raw, is_beyond_limits, try(from_json(raw,
        '{"id":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"subject":{"reference":"VARCHAR"},"encounter":{"reference":"VARCHAR"},"status":"VARCHAR","intent":"VARCHAR","authoredOn":"VARCHAR","dispenseRequest":"JSON","medicationCodeableConcept":"JSON","medicationReference":"JSON","resourceType":"VARCHAR"}')) as resource
    from line_medication
), opened as (
    select *,
        from_json(resource.dispenseRequest, '{"validityPeriod":{"start":"VARCHAR","end":"VARCHAR"}}') as resource_dispenseRequest,
        from_json(resource.medicationCodeableConcept, '{"coding":[{"system":"VARCHAR","code":"VARCHAR","display":"VARCHAR"}],"text":"VARCHAR"}') as resource_medicationCodeableConcept,
        from_json(resource.medicationReference, '{"display":"VARCHAR"}') as resource_medicationReference
    from parsed
), judged as (
    select *, misfit as problem_detail, case
        when is_beyond_limits then 'beyond_limits'
        when resource is null then 'not_json'
        when resource.resourceType is distinct from 'MedicationRequest' then 'wrong_type'
        when coalesce(resource.id, '') = '' then 'missing_id'
        when misfit = 'not json' then 'not_json'
        when misfit is not null then 'bad_value'
    end as problem
    from (
        select *, case
            when resource.resourceType = 'MedicationRequest' and (
                (resource.meta is not null and ((resource.meta.lastUpdated is null)))
                or (resource.subject is not null and ((resource.subject.reference is null)))
                or (resource.encounter is not null and ((resource.encounter.reference is null)))
                or (resource.dispenseRequest is not null and (not starts_with(resource.dispenseRequest, '{') or (resource_dispenseRequest.validityPeriod is not null and ((resource_dispenseRequest.validityPeriod.start is null and resource_dispenseRequest.validityPeriod.end is null)))))
                or (resource.medicationCodeableConcept is not null and (not starts_with(resource.medicationCodeableConcept, '{') or (resource_medicationCodeableConcept.coding is null) or len(list_filter(resource_medicationCodeableConcept.coding, lambda part_1: (part_1.system is null and part_1.code is null and part_1.display is null))) > 0))
                or (resource.medicationReference is not null and (not starts_with(resource.medicationReference, '{')))
            ) then misfit(raw, '{"id":"text","meta":{"lastUpdated":"text"},"subject":{"reference":"text"},"encounter":{"reference":"text"},"status":"text","intent":"text","authoredOn":"text","dispenseRequest":{"validityPeriod":{"start":"text","end":"text"}},"medicationCodeableConcept":{"coding":[{"system":"text","code":"text","display":"text"}],"text":"text"},"medicationReference":{"display":"text"},"resourceType":"text"}')
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
    resource.intent as "intent",
    resource.authoredOn as "authored_on",
    resource_dispenseRequest.validityPeriod.start as "valid_from",
    resource_dispenseRequest.validityPeriod.end as "valid_to",
    list_filter(resource_medicationCodeableConcept.coding, lambda item_1: (item_1.system = 'http://www.nlm.nih.gov/research/umls/rxnorm'))[1].code as "rxnorm",
    list_filter(resource_medicationCodeableConcept.coding, lambda item_2: (item_2.system = 'http://hl7.org/fhir/sid/ndc'))[1].code as "ndc",
    resource_medicationCodeableConcept.coding[1].code as "any_code",
    resource_medicationCodeableConcept.text as "name_text",
    resource_medicationCodeableConcept.coding[1].display as "name_display",
    resource_medicationReference.display as "name_of_reference"
from judged
)
select * from (
-- One staged row per MedicationRequest resource that is an order. A proposal or plan is out of scope.
with worded as (
    select
        *,
        case
            when intent in ('proposal', 'plan', 'option') then 'planned'
            when status = 'draft' then 'planned'
        end as out_of_scope,
        case status
            when 'active' then 'active'
            when 'on-hold' then 'active'
            when 'completed' then 'completed'
            when 'stopped' then 'stopped'
            when 'cancelled' then 'cancelled'
            when 'unknown' then 'unknown'
            when 'entered-in-error' then 'unknown'
        end as status_word
    from flat
)
select
    record_file,
    record_line,
    case
        when problem is null and out_of_scope is null and status is not null and status_word is null then 'bad_value'
        else problem
    end as problem,
    case
        when problem is null and out_of_scope is null and status is not null and status_word is null then 'status'
        else problem_detail
    end as problem_detail,
    problem is null and out_of_scope is not null as is_empty,
    case when problem is null then out_of_scope end as out_of_scope_reason,
    patient_id,
    coalesce(valid_from, authored_on) as effective_at,
    coalesce(last_updated, authored_on) as issued_at,
    coalesce(status = 'entered-in-error', false) as is_retracted,
    case when problem is not null or out_of_scope is null then id end as medication_id,
    encounter_id,
    case when rxnorm is not null then 'rxnorm' when ndc is not null then 'ndc' when any_code is not null then 'local' end as code_system,
    coalesce(rxnorm, ndc, any_code) as code,
    coalesce(name_text, name_display, name_of_reference) as name,
    status_word as status,
    coalesce(valid_from, authored_on) as started_at,
    valid_to as ended_at
from worded
)