-- patient_link from patients.csv: the medical record number, by which feeds of one hospital know a person.
-- DECIDE how the file names mrn; the system is one of person_systems in contract.yaml.
select
    record_file,
    record_line,
    mrn is null as is_empty,
    case when mrn is null then 'no_identifier' end as out_of_scope_reason,
    patient_id,
    patient_id || '|$system|' || mrn as link_id,
    '$system' as system,
    mrn as value
from patients
