-- condition from diagnoses_icd.csv: diagnoses coded for billing, in their order; true of the patient from admission on.
-- A row has no id of its own: the stay and its place in the list are its key.
select
    diagnoses.record_file,
    diagnoses.record_line,
    case when icd_version not in ('9', '10') then 'bad_value' end as problem,
    case when icd_version not in ('9', '10') then 'icd_version' end as problem_detail,
    diagnoses.subject_id as patient_id,
    admittime as effective_at,
    diagnoses.hadm_id || '#' || seq_num as condition_id,
    diagnoses.hadm_id as encounter_id,
    'billing' as kind,
    'icd-' || icd_version || '-cm' as code_system,
    trim(icd_code) as code,
    try_cast(seq_num as integer) as rank
from diagnoses
left join admissions on admissions.hadm_id = diagnoses.hadm_id
