-- One staged row per ImagingStudy resource. A study that is only registered, or was cancelled, has no images: out of scope.
with judged as (
    select
        *,
        case when problem is null and status = 'registered' then 'pending'
            when problem is null and status = 'cancelled' then 'cancelled' end as out_of_scope_reason,
        problem is null and status not in ('registered', 'available', 'cancelled', 'entered-in-error', 'unknown')
            as is_status_unknown
    from flat
)
select
    record_file,
    record_line,
    case when is_status_unknown then 'bad_value' else problem end as problem,
    case when is_status_unknown then 'status' else problem_detail end as problem_detail,
    out_of_scope_reason is not null as is_empty,
    out_of_scope_reason,
    patient_id,
    started as effective_at,
    last_updated as issued_at,
    coalesce(status = 'entered-in-error', false) as is_retracted,
    case when out_of_scope_reason is null then id end as imaging_study_id,
    encounter_id,
    coalesce(modality_of_series, modality_of_study) as modality,
    body_site,
    coalesce(series_count, nullif(series_listed, 0))::integer as series_count
from judged
