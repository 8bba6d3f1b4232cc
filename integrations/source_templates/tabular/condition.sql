-- condition from diagnoses.csv: one row per diagnosis of a stay, in its order.
-- DECIDE how the file names its columns, and what its code systems mean: icd-9-cm, icd-10-cm or snomed. Here the stay and
-- the place in its list (rank) are the key of a row, and all are codes for billing.
select
    record_file,
    record_line,
    case when code_system not in ('icd-9-cm', 'icd-10-cm', 'snomed') then 'bad_value' end as problem,
    case when code_system not in ('icd-9-cm', 'icd-10-cm', 'snomed') then 'code_system' end as problem_detail,
    patient_id,
    recorded_at as effective_at,
    encounter_id || '#' || rank as condition_id,
    encounter_id,
    'billing' as kind,
    code_system,
    replace(trim(code), '.', '') as code,
    try_cast(rank as integer) as rank
from diagnoses
