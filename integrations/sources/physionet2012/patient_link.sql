-- patient_link from the file of each stay: its RecordID is the one identifier that there is.
select
    record_file,
    record_line,
    case when sent_before = 'other' then 'sent_twice' end as problem,
    case when sent_before = 'other' then 'RecordID' end as problem_detail,
    coalesce(sent_before = 'the_same', false) as is_empty,
    case when sent_before = 'the_same' then 'sent_twice' end as out_of_scope_reason,
    record_id as patient_id,
    record_id || '|urn:physionet:challenge-2012:record-id|' || record_id as link_id,
    'urn:physionet:challenge-2012:record-id' as system,
    record_id as value
from stays
