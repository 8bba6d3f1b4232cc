-- imaging_study from studies.csv: one row per study, what was taken and not what was seen.
-- DECIDE how the file names its columns; modality is the DICOM word of the first series, such as CT.
select
    record_file,
    record_line,
    patient_id,
    started_at as effective_at,
    imaging_study_id,
    encounter_id,
    modality,
    body_site,
    try_cast(series_count as integer) as series_count
from studies
