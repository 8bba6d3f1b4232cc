-- encounter_location from transfers.csv: one row per stay in a ward. The row that ends a stay names no ward.
-- A visit to the emergency department without a stay has no encounter_id.
select
    record_file,
    record_line,
    eventtype = 'discharge' as is_empty,
    case when eventtype = 'discharge' then 'no_location' end as out_of_scope_reason,
    subject_id as patient_id,
    intime as effective_at,
    case when eventtype <> 'discharge' then transfer_id end as location_id,
    hadm_id as encounter_id,
    careunit as ward,
    intime as started_at,
    outtime as ended_at
from transfers
