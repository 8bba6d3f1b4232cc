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
