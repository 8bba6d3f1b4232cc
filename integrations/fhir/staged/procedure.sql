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
