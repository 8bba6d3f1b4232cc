-- encounter_location from wards.csv: one row per stay of one encounter in one ward.
-- DECIDE how the file names its columns. Here a row has no id of its own: the encounter and the time of moving in are it.
select
    record_file,
    record_line,
    patient_id,
    started_at as effective_at,
    encounter_id || '#' || started_at as location_id,
    encounter_id,
    ward,
    started_at,
    ended_at
from wards
