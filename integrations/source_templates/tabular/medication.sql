-- medication from orders.csv: one row per order of one drug.
-- DECIDE how the file names its columns, what its code system is (rxnorm, ndc or local), and which of its words mean which
-- status; a word that is not listed reads as unknown.
select
    record_file,
    record_line,
    patient_id,
    started_at as effective_at,
    ordered_at as issued_at,
    medication_id,
    encounter_id,
    case when code is not null then 'ndc' end as code_system,
    code,
    name,
    case when status in ('active', 'completed', 'stopped', 'cancelled') then status else 'unknown' end as status,
    started_at,
    ended_at
from orders
