-- patient_link from patients.csv: subject_id is the one identifier of a person.
select
    record_file,
    record_line,
    subject_id as patient_id,
    subject_id || '|urn:mimic-iv:subject_id|' || subject_id as link_id,
    'urn:mimic-iv:subject_id' as system,
    subject_id as value
from patients
