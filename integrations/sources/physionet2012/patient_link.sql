-- patient_link from the file of each stay: its RecordID is the one identifier that there is.
select
    record_file,
    record_line,
    record_id as patient_id,
    record_id || '|urn:physionet:challenge-2012:record-id|' || record_id as link_id,
    'urn:physionet:challenge-2012:record-id' as system,
    record_id as value
from stays
