-- One staged row per study. Modality and body part are those of its first series by SeriesNumber; reports, presentation
-- states, segmentations and plans come after whatever makes images. A study whose series were not asked for gives what
-- the PACS says of it as a whole: of several modalities the first by name. A PACS may hold, and tell, a series twice.
with worded as (
    select
        *,
        ['AU', 'DOC', 'FID', 'KO', 'PLAN', 'PR', 'REG', 'RTDOSE', 'RTPLAN', 'RTRECORD', 'RTSTRUCT', 'RWV', 'SEG', 'SR']
            as makes_no_images,
        try_cast(related_series as integer) as related_series_count
    from study
)
select
    record_file,
    record_line,
    case
        when record_problem is not null then record_problem
        when coalesce(unread_of_patient, unread_of_study) is not null then 'bad_value'
        when not regexp_full_match(study_uid, '[0-9.]+') then 'bad_value'
        when patient_id is not null and not is_of_our_patients then 'foreign_patient'
        when study_date is not null and try_cast(day as date) is null then 'bad_time'
        when study_time is not null and try_cast(clock as time) is null then 'bad_time'
        when utc_offset is not null and zone is null then 'bad_time'
        when related_series is not null and coalesce(related_series_count, -1) < 0 then 'bad_value'
    end as problem,
    case
        when record_problem is not null then null
        when coalesce(unread_of_patient, unread_of_study) is not null then coalesce(unread_of_patient, unread_of_study)
        when not regexp_full_match(study_uid, '[0-9.]+') then 'StudyInstanceUID'
        when patient_id is not null and not is_of_our_patients then 'IssuerOfPatientID'
        when study_date is not null and try_cast(day as date) is null then 'StudyDate'
        when study_time is not null and try_cast(clock as time) is null then 'StudyTime'
        when utc_offset is not null and zone is null then 'TimezoneOffsetFromUTC'
        when related_series is not null and coalesce(related_series_count, -1) < 0 then 'NumberOfStudyRelatedSeries'
    end as problem_detail,
    false as is_empty,
    null::varchar as out_of_scope_reason,
    patient_id,
    case when clock is null then day else day || 'T' || clock || coalesce(zone, '') end as effective_at,
    null::varchar as issued_at,
    false as is_retracted,
    study_uid as imaging_study_id,
    case when $is_accession_number_of_stay then accession_number end as encounter_id,
    coalesce(
        list_sort(list_transform(list_filter(series, lambda each: each.modality is not null), lambda each: {
            'is_late': list_contains(makes_no_images, each.modality),
            'place': each.place,
            'uid': each.uid,
            'modality': each.modality
        }))[1].modality,
        list_sort(list_transform(modalities, lambda each: {
            'is_late': list_contains(makes_no_images, each), 'modality': each
        }))[1].modality
    ) as modality,
    coalesce(
        list_sort(list_transform(list_filter(series, lambda each: each.body_part is not null), lambda each: {
            'is_late': coalesce(list_contains(makes_no_images, each.modality), false),
            'place': each.place,
            'uid': each.uid,
            'body_part': each.body_part
        }))[1].body_part,
        body_part
    ) as body_site,
    coalesce(nullif(len(list_distinct(list_transform(series, lambda each: each.uid))), 0), related_series_count)::integer
        as series_count
from worded
