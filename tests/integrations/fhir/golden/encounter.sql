with flat as (
with parsed as (
    select record_file, record_line, raw, is_beyond_limits, try(from_json(raw,
        '{"id":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"subject":{"reference":"VARCHAR"},"status":"VARCHAR","class":{"code":"VARCHAR"},"priority":"JSON","type":"JSON","hospitalization":"JSON","period":{"start":"VARCHAR","end":"VARCHAR"},"serviceType":"JSON","resourceType":"VARCHAR"}')) as resource
    from line_encounter
), opened as (
    select *,
        from_json(resource.priority, '{"coding":[{"code":"VARCHAR"}]}') as resource_priority,
        from_json(resource.type, '[{"coding":[{"code":"VARCHAR"}]}]') as resource_type,
        from_json(resource.hospitalization, '{"admitSource":{"coding":[{"code":"VARCHAR"}]},"dischargeDisposition":{"coding":[{"code":"VARCHAR"}]}}') as resource_hospitalization,
        from_json(resource.serviceType, '{"text":"VARCHAR","coding":[{"display":"VARCHAR","code":"VARCHAR"}]}') as resource_serviceType
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
                or (resource.class is not null and ((resource.class.code is null)))
                or (resource.priority is not null and (not starts_with(resource.priority, '{') or (resource_priority.coding is null) or len(list_filter(resource_priority.coding, lambda part_1: (part_1.code is null))) > 0))
                or (resource.type is not null and (not starts_with(resource.type, '[') or len(list_filter(resource_type, lambda part_1: (part_1.coding is null) or len(list_filter(part_1.coding, lambda part_2: (part_2.code is null))) > 0)) > 0))
                or (resource.hospitalization is not null and (not starts_with(resource.hospitalization, '{') or (resource_hospitalization.admitSource is not null and ((resource_hospitalization.admitSource.coding is null) or (resource_hospitalization.admitSource.coding is null) or len(list_filter(resource_hospitalization.admitSource.coding, lambda part_1: (part_1.code is null))) > 0)) or (resource_hospitalization.dischargeDisposition is not null and ((resource_hospitalization.dischargeDisposition.coding is null) or (resource_hospitalization.dischargeDisposition.coding is null) or len(list_filter(resource_hospitalization.dischargeDisposition.coding, lambda part_1: (part_1.code is null))) > 0))))
                or (resource.period is not null and ((resource.period.start is null and resource.period.end is null)))
                or (resource.serviceType is not null and (not starts_with(resource.serviceType, '{') or (resource_serviceType.coding is null) or len(list_filter(resource_serviceType.coding, lambda part_1: (part_1.display is null and part_1.code is null))) > 0))
            ) then misfit(raw, '{"id":"text","meta":{"lastUpdated":"text"},"subject":{"reference":"text"},"status":"text","class":{"code":"text"},"priority":{"coding":[{"code":"text"}]},"type":[{"coding":[{"code":"text"}]}],"hospitalization":{"admitSource":{"coding":[{"code":"text"}]},"dischargeDisposition":{"coding":[{"code":"text"}]}},"period":{"start":"text","end":"text"},"serviceType":{"text":"text","coding":[{"display":"text","code":"text"}]},"resourceType":"text"}')
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
    resource.status as "status",
    resource.class.code as "class_code",
    resource_priority.coding[1].code as "priority",
    resource_type[1].coding[1].code as "type_code",
    resource_hospitalization.admitSource.coding[1].code as "admit_source",
    resource_hospitalization.dischargeDisposition.coding[1].code as "disposition",
    resource.period.start as "started_at",
    resource.period.end as "ended_at",
    resource_serviceType.text as "service_text",
    resource_serviceType.coding[1].display as "service_display",
    resource_serviceType.coding[1].code as "service_code"
from judged
)
select * from (
-- One staged row per Encounter resource. A planned stay is no stay yet and a cancelled one never was: out of scope.
-- Codes: v3-ActCode (class), v3-ActPriority and HL7 table 0007 (priority), FHIR admit-source and NUBC point of origin,
-- FHIR discharge-disposition (where `hosp` means hospice) and NUBC patient discharge status. A code that is not here is
-- a bad_value; a type code that is not here says nothing about the urgency.
with worded as (
    select
        *,
        case
            when status = 'planned' or class_code = 'PRENC' then 'planned'
            when status = 'cancelled' then 'cancelled'
        end as out_of_scope,
        case
            when class_code in ('IMP', 'ACUTE', 'NONAC') then 'inpatient'
            when class_code = 'EMER' then 'emergency'
            when class_code = 'OBSENC' then 'observation'
            when class_code in ('AMB', 'VR') then 'ambulatory'
            when class_code in ('HH', 'FLD', 'SS') then 'other'
        end as class_word,
        case
            when priority in ('EM', 'E', 'A', 'S', 'CR', 'CS', 'CSP', 'CSR', '1') then 'emergency'
            when priority in ('UR', 'U', 'RR', 'PRN', 'UD', '2') then 'urgent'
            when priority in ('EL', 'C', 'R', '3') then 'elective'
            when priority in ('N', '4') then 'newborn'
            when priority in ('L', 'P', 'T', '5', '9') then 'other'
        end as priority_word,
        case
            when class_code = 'OBSENC' then 'observation'
            when class_code = 'EMER' then 'emergency'
            when type_code in ('50849002', '183452005', '183478001', '183460006', '4525004') then 'emergency' -- SNOMED CT
            when type_code in ('8715000', '183495009') then 'elective' -- SNOMED CT
        end as type_word,
        case
            when admit_source in ('emd', '7') then 'emergency_department'
            when admit_source in ('hosp-trans', '4') then 'acute_hospital'
            when admit_source in ('nursing', '5') then 'skilled_nursing'
            when admit_source in ('outp', 'gp', 'mp', '2') then 'clinic'
            when admit_source in ('home', '1') then 'home'
            when admit_source in ('born', 'psych', 'rehab', 'other', '6', '8', '9', 'D', 'E', 'F') then 'other'
        end as source_word,
        case
            when disposition in ('home', 'alt-home', '01', '81') then 'home'
            when disposition in ('06', '86') then 'home_health'
            when disposition in ('snf', '03', '61', '83', '89') then 'skilled_nursing'
            when disposition in ('rehab', '62', '90') then 'rehab'
            when disposition in ('long', '04', '63', '64', '84', '91', '92') then 'long_term_care'
            when disposition in ('02', '05', '43', '66', '82', '85', '88', '94') then 'acute_hospital'
            when disposition in ('psy', '65', '93') then 'psychiatric'
            when disposition in ('hosp', 'hospice', '50', '51') then 'hospice'
            when disposition in ('aadvice', '07') then 'against_advice'
            when disposition in ('exp', '20', '40', '41', '42') then 'died'
            when disposition in ('oth', 'other-hcf', '21', '69', '70', '87', '95') then 'other'
        end as disposition_word
    from flat
),
judged as (
    select
        *,
        case
            when problem is not null or out_of_scope is not null then null
            when status not in ('arrived', 'triaged', 'in-progress', 'onleave', 'finished', 'entered-in-error', 'unknown')
                then 'status'
            when class_word is null and class_code is not null then 'class'
            when priority_word is null and priority is not null then 'priority'
            when source_word is null and admit_source is not null then 'hospitalization.admitSource'
            when disposition_word is null and disposition is not null then 'hospitalization.dischargeDisposition'
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
    started_at as effective_at,
    last_updated as issued_at,
    coalesce(status = 'entered-in-error', false) as is_retracted,
    case when problem is not null or out_of_scope is null then id end as encounter_id,
    class_word as class,
    coalesce(priority_word, type_word) as admission_type,
    source_word as admission_source,
    started_at,
    case when status in ('arrived', 'triaged', 'in-progress', 'onleave') then null else ended_at end as ended_at,
    disposition_word as discharge_disposition,
    coalesce(service_text, service_display, service_code) as service
from judged
)