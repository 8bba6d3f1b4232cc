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
