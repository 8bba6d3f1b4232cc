with flat as (
with parsed as (
    select record_file, record_line, raw, is_beyond_limits, try(from_json(raw,
        '{"id":"VARCHAR","meta":{"lastUpdated":"VARCHAR"},"subject":{"reference":"VARCHAR"},"encounter":{"reference":"VARCHAR"},"status":"VARCHAR","category":[{"coding":[{"code":"VARCHAR"}]}],"effectiveDateTime":"VARCHAR","effectiveInstant":"VARCHAR","effectivePeriod":"JSON","issued":"VARCHAR","identifier":"JSON","basedOn":"JSON","component":"JSON","code":{"coding":[{"system":"VARCHAR","code":"VARCHAR"}]},"valueQuantity":{"value":"JSON","code":"VARCHAR","unit":"VARCHAR","comparator":"VARCHAR"},"valueInteger":"JSON","valueString":"VARCHAR","valueBoolean":"BOOLEAN","valueDateTime":"VARCHAR","valueTime":"VARCHAR","valueCodeableConcept":"JSON","valueRange":"JSON","valueRatio":"JSON","valueSampledData":"JSON","valuePeriod":"JSON","resourceType":"VARCHAR"}')) as resource
    from line_observation
), opened as (
    select *,
        from_json(resource.effectivePeriod, '{"start":"VARCHAR"}') as resource_effectivePeriod,
        from_json(resource.identifier, '[{"type":{"coding":[{"code":"VARCHAR"}]},"value":"VARCHAR"}]') as resource_identifier,
        from_json(resource.basedOn, '[{"reference":"VARCHAR"}]') as resource_basedOn,
        from_json(resource.component, '[{"code":{"coding":[{"system":"VARCHAR","code":"VARCHAR"}]},"valueQuantity":{"value":"JSON","code":"VARCHAR","unit":"VARCHAR","comparator":"VARCHAR"},"valueInteger":"JSON","valueString":"VARCHAR","valueBoolean":"BOOLEAN","valueDateTime":"VARCHAR","valueTime":"VARCHAR","valueCodeableConcept":{"coding":[{"code":"VARCHAR","display":"VARCHAR"}],"text":"VARCHAR"},"valueRange":"JSON","valueRatio":"JSON","valueSampledData":"JSON","valuePeriod":"JSON"}]') as resource_component,
        from_json(resource.valueCodeableConcept, '{"coding":[{"code":"VARCHAR","display":"VARCHAR"}],"text":"VARCHAR"}') as resource_valueCodeableConcept,
        from_json(resource.valueRange, '"JSON"') as resource_valueRange,
        from_json(resource.valueRatio, '"JSON"') as resource_valueRatio,
        from_json(resource.valueSampledData, '"JSON"') as resource_valueSampledData,
        from_json(resource.valuePeriod, '"JSON"') as resource_valuePeriod
    from parsed
), judged as (
    select *, misfit as problem_detail, case
        when is_beyond_limits then 'beyond_limits'
        when resource is null then 'not_json'
        when resource.resourceType is distinct from 'Observation' then 'wrong_type'
        when coalesce(resource.id, '') = '' then 'missing_id'
        when misfit = 'not json' then 'not_json'
        when misfit is not null then 'bad_value'
    end as problem
    from (
        select *, case
            when resource.resourceType = 'Observation' and (
                (resource.meta is not null and ((resource.meta.lastUpdated is null)))
                or (resource.subject is not null and ((resource.subject.reference is null)))
                or (resource.encounter is not null and ((resource.encounter.reference is null)))
                or (resource.category is null and json_type(raw, '$.category') <> 'NULL')
                or len(list_filter(resource.category, lambda part_1: (part_1.coding is null) or len(list_filter(part_1.coding, lambda part_2: (part_2.code is null))) > 0)) > 0
                or (resource.effectivePeriod is not null and (not starts_with(resource.effectivePeriod, '{')))
                or (resource.identifier is not null and (not starts_with(resource.identifier, '[') or len(list_filter(resource_identifier, lambda part_1: (part_1.type is null and part_1.value is null) or (part_1.type is not null and ((part_1.type.coding is null) or (part_1.type.coding is null) or len(list_filter(part_1.type.coding, lambda part_2: (part_2.code is null))) > 0)))) > 0))
                or (resource.basedOn is not null and (not starts_with(resource.basedOn, '[') or len(list_filter(resource_basedOn, lambda part_1: (part_1.reference is null))) > 0))
                or (resource.component is not null and (not starts_with(resource.component, '[') or len(list_filter(resource_component, lambda part_1: (part_1.code is null and part_1.valueQuantity is null and part_1.valueInteger is null and part_1.valueString is null and part_1.valueBoolean is null and part_1.valueDateTime is null and part_1.valueTime is null and part_1.valueCodeableConcept is null and part_1.valueRange is null and part_1.valueRatio is null and part_1.valueSampledData is null and part_1.valuePeriod is null) or (part_1.code is not null and ((part_1.code.coding is null) or (part_1.code.coding is null) or len(list_filter(part_1.code.coding, lambda part_2: (part_2.system is null and part_2.code is null))) > 0)) or (part_1.valueQuantity is not null and ((part_1.valueQuantity.value is null and part_1.valueQuantity.code is null and part_1.valueQuantity.unit is null and part_1.valueQuantity.comparator is null) or (part_1.valueQuantity.value is not null and try_cast(part_1.valueQuantity.value::varchar as double) is null))) or (part_1.valueInteger is not null and try_cast(part_1.valueInteger::varchar as double) is null) or (part_1.valueCodeableConcept is not null and ((part_1.valueCodeableConcept.coding is null and part_1.valueCodeableConcept.text is null) or (part_1.valueCodeableConcept.coding is null) or len(list_filter(part_1.valueCodeableConcept.coding, lambda part_2: (part_2.code is null and part_2.display is null))) > 0)))) > 0))
                or (resource.code is not null and ((resource.code.coding is null) or (resource.code.coding is null and json_type(raw, '$.code.coding') <> 'NULL') or len(list_filter(resource.code.coding, lambda part_1: (part_1.system is null and part_1.code is null))) > 0))
                or (resource.valueQuantity is not null and ((resource.valueQuantity.value is null and resource.valueQuantity.code is null and resource.valueQuantity.unit is null and resource.valueQuantity.comparator is null) or (resource.valueQuantity.value is not null and try_cast(resource.valueQuantity.value::varchar as double) is null)))
                or (resource.valueInteger is not null and try_cast(resource.valueInteger::varchar as double) is null)
                or (resource.valueCodeableConcept is not null and (not starts_with(resource.valueCodeableConcept, '{') or (resource_valueCodeableConcept.coding is null) or len(list_filter(resource_valueCodeableConcept.coding, lambda part_1: (part_1.code is null and part_1.display is null))) > 0))
                or (resource.valueRange is not null and (not starts_with(resource.valueRange, '{')))
                or (resource.valueRatio is not null and (not starts_with(resource.valueRatio, '{')))
                or (resource.valueSampledData is not null and (not starts_with(resource.valueSampledData, '{')))
                or (resource.valuePeriod is not null and (not starts_with(resource.valuePeriod, '{')))
            ) then misfit(raw, '{"id":"text","meta":{"lastUpdated":"text"},"subject":{"reference":"text"},"encounter":{"reference":"text"},"status":"text","category":[{"coding":[{"code":"text"}]}],"effectiveDateTime":"text","effectiveInstant":"text","effectivePeriod":{"start":"text"},"issued":"text","identifier":[{"type":{"coding":[{"code":"text"}]},"value":"text"}],"basedOn":[{"reference":"text"}],"component":[{"code":{"coding":[{"system":"text","code":"text"}]},"valueQuantity":{"value":"number","code":"text","unit":"text","comparator":"text"},"valueInteger":"number","valueString":"text","valueBoolean":"boolean","valueDateTime":"text","valueTime":"text","valueCodeableConcept":{"coding":[{"code":"text","display":"text"}],"text":"text"},"valueRange":"any","valueRatio":"any","valueSampledData":"any","valuePeriod":"any"}],"code":{"coding":[{"system":"text","code":"text"}]},"valueQuantity":{"value":"number","code":"text","unit":"text","comparator":"text"},"valueInteger":"number","valueString":"text","valueBoolean":"boolean","valueDateTime":"text","valueTime":"text","valueCodeableConcept":{"coding":[{"code":"text","display":"text"}],"text":"text"},"valueRange":"any","valueRatio":"any","valueSampledData":"any","valuePeriod":"any","resourceType":"text"}')
        end as misfit
        from opened
    )
), settled as (
    select *,
        resource.id as "id.1",
        resource.meta.lastUpdated as "last_updated.1",
        reference_key(resource.subject.reference, 'Patient') as "patient_id.1",
        reference_key(resource.encounter.reference, 'Encounter') as "encounter_id.1",
        resource.status as "status.1",
        resource.category[1].coding[1].code as "category.1",
        resource.effectiveDateTime as "effective.1",
        resource.effectiveInstant as "effective_instant.1",
        resource_effectivePeriod.start as "effective_start.1",
        resource.issued as "issued.1",
        [identifier_3.value for identifier_3 in list_filter(resource_identifier, lambda item_1: (coalesce(len(list_filter(item_1.type.coding, lambda item_2: ((item_2.code = 'FILL') or (item_2.code = 'ACSN')))), 0) > 0)) if identifier_3.value is not null][1] as "filler_number.1",
        reference_key(resource_basedOn[1].reference, 'ServiceRequest') as "order_id.1",
        (coalesce(len(resource_component), 0) > 0) as "has_components.1",
        (case when (resource.code.coding[1].system = 'http://loinc.org') then resource.code.coding[1].code else list_filter(resource.code.coding, lambda item_4: (item_4.system = 'http://loinc.org'))[1].code end) as "loinc.1",
        resource.code.coding[1].system as "first_system.1",
        resource.code.coding[1].code as "first_code.1",
        resource.valueQuantity.value::varchar as "value_number.1",
        resource.valueQuantity.code as "unit_code.1",
        resource.valueQuantity.unit as "unit_text.1",
        resource.valueQuantity.comparator as "comparator.1",
        try_cast(resource.valueInteger::varchar as bigint) as "value_integer.1",
        resource.valueString as "value_string.1",
        resource.valueBoolean as "value_boolean.1",
        resource.valueDateTime as "value_date_time.1",
        resource.valueTime as "value_time.1",
        resource_valueCodeableConcept.coding[1].code as "value_code.1",
        resource_valueCodeableConcept.text as "value_concept.1",
        resource_valueCodeableConcept.coding[1].display as "value_display.1",
        ((((resource_valueRange is not null) or (resource_valueRatio is not null)) or (resource_valueSampledData is not null)) or (resource_valuePeriod is not null)) as "is_value_of_other_type.1"
    from judged
), placed as (
    select * exclude (place), place.*, place is null as is_rowless
    from (
        select *, unnest(coalesce(nullif(case when problem is distinct from 'not_json' and problem is distinct from 'wrong_type' then case when resource_component is null then [{branch: 1, each_5_place: null::bigint}] else list_concat(
            [{branch: 1, each_5_place: null::bigint}],
            [{branch: 2, each_5_place: each_5_place} for each_5, each_5_place in resource_component]
        ) end end, []), [null])) as place
        from settled
    )
), spread as (
    select *,
        resource_component[each_5_place] as each_5
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
    "encounter_id.1" as "encounter_id",
    "status.1" as "status",
    "category.1" as "category",
    "effective.1" as "effective",
    "effective_instant.1" as "effective_instant",
    "effective_start.1" as "effective_start",
    "issued.1" as "issued",
    "filler_number.1" as "filler_number",
    "order_id.1" as "order_id",
    "has_components.1" as "has_components",
    case branch when 1 then false when 2 then true end as "is_component",
    case branch when 1 then "loinc.1" when 2 then (case when (each_5.code.coding[1].system = 'http://loinc.org') then each_5.code.coding[1].code else list_filter(each_5.code.coding, lambda item_6: (item_6.system = 'http://loinc.org'))[1].code end) end as "loinc",
    case branch when 1 then "first_system.1" when 2 then each_5.code.coding[1].system end as "first_system",
    case branch when 1 then "first_code.1" when 2 then each_5.code.coding[1].code end as "first_code",
    case branch when 1 then "value_number.1" when 2 then each_5.valueQuantity.value::varchar end as "value_number",
    case branch when 1 then "unit_code.1" when 2 then each_5.valueQuantity.code end as "unit_code",
    case branch when 1 then "unit_text.1" when 2 then each_5.valueQuantity.unit end as "unit_text",
    case branch when 1 then "comparator.1" when 2 then each_5.valueQuantity.comparator end as "comparator",
    case branch when 1 then "value_integer.1" when 2 then try_cast(each_5.valueInteger::varchar as bigint) end as "value_integer",
    case branch when 1 then "value_string.1" when 2 then each_5.valueString end as "value_string",
    case branch when 1 then "value_boolean.1" when 2 then each_5.valueBoolean end as "value_boolean",
    case branch when 1 then "value_date_time.1" when 2 then each_5.valueDateTime end as "value_date_time",
    case branch when 1 then "value_time.1" when 2 then each_5.valueTime end as "value_time",
    case branch when 1 then "value_code.1" when 2 then each_5.valueCodeableConcept.coding[1].code end as "value_code",
    case branch when 1 then "value_concept.1" when 2 then each_5.valueCodeableConcept.text end as "value_concept",
    case branch when 1 then "value_display.1" when 2 then each_5.valueCodeableConcept.coding[1].display end as "value_display",
    case branch when 1 then "is_value_of_other_type.1" when 2 then ((((each_5.valueRange is not null) or (each_5.valueRatio is not null)) or (each_5.valueSampledData is not null)) or (each_5.valuePeriod is not null)) end as "is_value_of_other_type"
from spread
)
select * from (
-- One staged row per value of an Observation resource: its own, and one per component (`<id>#<code>`).
-- Of several codings the one of LOINC counts, else the first. A panel without a value of its own gives only its components.
-- A retracted observation gives its row even without a value: the row withdraws what was known.
with worded as (
    select
        *,
        case status
            when 'registered' then 'preliminary'
            when 'preliminary' then 'preliminary'
            when 'final' then 'final'
            when 'amended' then 'corrected'
            when 'corrected' then 'corrected'
            when 'entered-in-error' then 'entered_in_error'
        end as status_word,
        coalesce(try_cast(value_number as double), value_integer) as number,
        coalesce(value_string, value_concept, value_display, value_boolean::varchar, value_date_time, value_time) as words
    from flat
),
judged as (
    select
        *,
        case
            when problem is not null then null
            when status = 'cancelled' then 'cancelled'
            when status_word = 'entered_in_error' then null
            when is_value_of_other_type then 'value_type'
            when number is null and words is null and value_code is null then 'no_value'
        end as out_of_scope_reason,
        problem is null and (status_word is null and status is not null and status <> 'cancelled') as is_status_unknown,
        problem is null and comparator not in ('<', '<=', '>=', '>') as is_comparator_unknown
    from worded
    where not (
        has_components
        and is_component is false
        and problem is null
        and number is null
        and words is null
        and value_code is null
    )
)
select
    record_file,
    record_line,
    case when is_status_unknown or is_comparator_unknown then 'bad_value' else problem end as problem,
    case
        when is_status_unknown then 'status'
        when is_comparator_unknown then 'valueQuantity.comparator'
        else problem_detail
    end as problem_detail,
    out_of_scope_reason is not null as is_empty,
    out_of_scope_reason,
    patient_id,
    coalesce(effective, effective_instant, effective_start) as effective_at,
    coalesce(issued, last_updated) as issued_at,
    coalesce(status_word = 'entered_in_error', false) as is_retracted,
    case
        when out_of_scope_reason is not null then null
        when is_component then id || '#' || coalesce(loinc, first_code)
        else id
    end as observation_id,
    encounter_id,
    case category
        when 'laboratory' then 'laboratory'
        when 'vital-signs' then 'vital_signs'
        when 'survey' then 'survey'
        when 'social-history' then 'social_history'
        else 'other'
    end as category,
    case when loinc is not null then 'http://loinc.org' else first_system end as local_system,
    coalesce(loinc, first_code) as local_code,
    number as value_number,
    coalesce(unit_code, unit_text) as unit,
    comparator,
    words as value_text,
    value_code,
    status_word as status,
    -- the laboratory's own number, by which its results are the same through another door
    coalesce(filler_number, order_id) as order_number
from judged
)