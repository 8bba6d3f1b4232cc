-- medication from prescriptions.csv: one order of one drug. An order of several drugs has several rows: pharmacy_id, type
-- and name of the drug are the key.
-- ndc 0 means none. An order that was stopped before its start never ran: cancelled, without an end.
select
    record_file,
    record_line,
    subject_id as patient_id,
    starttime as effective_at,
    pharmacy_id || '#' || md5(concat_ws('|', drug_type, drug)) as medication_id,
    hadm_id as encounter_id,
    case when ndc <> '0' then 'ndc' end as code_system,
    nullif(ndc, '0') as code,
    drug as name,
    case
        when try_cast(stoptime as timestamp) < try_cast(starttime as timestamp) then 'cancelled'
        when stoptime is null then 'unknown'
        else 'completed'
    end as status,
    starttime as started_at,
    case
        when try_cast(stoptime as timestamp) < try_cast(starttime as timestamp) then null
        else stoptime
    end as ended_at
from prescriptions
