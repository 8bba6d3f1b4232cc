-- One staged row per study: the identifier by which the PACS knows its patient.
select
    record_file,
    record_line,
    case
        when record_problem is not null then record_problem
        when unread_of_patient is not null then 'bad_value'
        when patient_id is not null and not is_of_our_patients then 'foreign_patient'
    end as problem,
    case
        when record_problem is not null then null
        when unread_of_patient is not null then unread_of_patient
        when patient_id is not null and not is_of_our_patients then 'IssuerOfPatientID'
    end as problem_detail,
    patient_id is null as is_empty,
    case when patient_id is null then 'no_identifier' end as out_of_scope_reason,
    patient_id,
    null::varchar as effective_at,
    null::varchar as issued_at,
    false as is_retracted,
    patient_id || '|' || $system || '|' || patient_id as link_id,
    $system as system,
    patient_id as value
from study
