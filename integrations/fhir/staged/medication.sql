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
