-- procedure from procedures_icd.csv: procedures coded for billing. The date comes as month/day/year in this release.
-- A row has no id of its own: the stay and its place in the list are its key.
select
    record_file,
    record_line,
    case when icd_version not in ('9', '10') then 'bad_value' end as problem,
    case when icd_version not in ('9', '10') then 'icd_version' end as problem_detail,
    subject_id as patient_id,
    coalesce(strftime(try_strptime(chartdate, '%m/%d/%Y'), '%Y-%m-%d'), chartdate) as effective_at,
    hadm_id || '#' || seq_num as procedure_id,
    hadm_id as encounter_id,
    'icd-' || icd_version || '-pcs' as code_system,
    trim(icd_code) as code
from procedures
