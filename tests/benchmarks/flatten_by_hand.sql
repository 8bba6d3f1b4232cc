-- By hand: the canonical observation rows of one file of laboratory results, out of the relation `sent`.
select
    'demo_ehr' as source,
    'demo' as site_id,
    'demo_ehr/' || split_part(sent.subject.reference, '/', 2) as patient_id,
    'demo_ehr/' || sent.id as observation_id,
    'demo_ehr/' || split_part(sent.encounter.reference, '/', 2) as encounter_id,
    replace(sent.category[1].coding[1].code, '-', '_') as category,
    codes.loinc as code,
    sent.code.coding[1].system as local_system,
    sent.code.coding[1].code as local_code,
    sent.valueQuantity.value as value_number,
    codes.unit as unit,
    sent.valueQuantity.comparator as comparator,
    sent.valueString as value_text,
    sent.valueCodeableConcept.coding[1].code as value_code,
    sent.status as status,
    coalesce(sent.valueQuantity.value not between analytes.extreme_low and analytes.extreme_high, false) as is_extreme,
    null::varchar as order_number,
    sent.effectiveDateTime as effective_at,
    greatest(sent.issued, timestamptz '2024-07-05 00:00:00+00') as available_at,
    false as is_available_at_inferred,
    sent.status = 'entered-in-error' as is_retracted,
    'demo_ehr-20240705T000000Z-00000000' as extract_id,
    'Observation.ndjson' as source_file,
    source_line,
    (('0x' || left(md5('demo_ehr/' || split_part(sent.subject.reference, '/', 2)), 8))::bigint % 8)::integer as bucket
from sent
left join codes on codes.local_system = sent.code.coding[1].system and codes.local_code = sent.code.coding[1].code
left join analytes on analytes.loinc = codes.loinc
