-- One staged row per location of an Encounter resource. Only the first may go without a time: it starts with the stay.
with scoped as (
    select
        *,
        case
            when problem is not null then null
            when is_empty then 'no_location'
            when encounter_status in ('planned', 'cancelled') then encounter_status
            when status in ('planned', 'reserved') then 'planned'
        end as out_of_scope_reason,
        coalesce(started_at, case when place = 0 then encounter_started_at end) as begun_at
    from flat
)
select
    record_file,
    record_line,
    problem,
    problem_detail,
    out_of_scope_reason is not null as is_empty,
    out_of_scope_reason,
    patient_id,
    begun_at as effective_at,
    last_updated as issued_at,
    coalesce(encounter_status = 'entered-in-error', false) as is_retracted,
    case when out_of_scope_reason is null then id || '#' || (place + 1) end as location_id,
    id as encounter_id,
    coalesce(ward_name, ward_key) as ward,
    begun_at as started_at,
    ended_at
from scoped
