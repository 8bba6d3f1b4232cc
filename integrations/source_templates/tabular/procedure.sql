-- procedure from procedures.csv: one row per procedure.
-- DECIDE how the file names its columns, and what its code systems mean: icd-9-pcs, icd-10-pcs, cpt or snomed.
select
    record_file,
    record_line,
    case when code_system not in ('icd-9-pcs', 'icd-10-pcs', 'cpt', 'snomed') then 'bad_value' end as problem,
    case when code_system not in ('icd-9-pcs', 'icd-10-pcs', 'cpt', 'snomed') then 'code_system' end as problem_detail,
    patient_id,
    performed_at as effective_at,
    procedure_id,
    encounter_id,
    code_system,
    replace(trim(code), '.', '') as code
from procedures
