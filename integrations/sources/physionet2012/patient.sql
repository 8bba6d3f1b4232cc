-- patient from the file of each stay: who a person is, is not sent, so each stay is a patient of its own.
-- Of two files of one RecordID the first by name counts; another one that says the same is left out, one that does not is a fault.
-- The age at admission stands as an observation (LOINC 30525-0); a birth date would be made up.
with sent as (
    select
        record_file,
        max("Value") filter (where "Parameter" = 'RecordID') as record_id,
        max("Value") filter (where "Parameter" = 'Gender') as gender
    from measurements
    group by record_file
)
select
    stays.record_file,
    stays.record_line,
    case
        when sent_before = 'other' then 'sent_twice'
        when sent.record_id <> stays.record_id then 'bad_value'
    end as problem,
    case when sent_before = 'other' or sent.record_id <> stays.record_id then 'RecordID' end as problem_detail,
    coalesce(sent_before = 'the_same', false) as is_empty,
    case when sent_before = 'the_same' then 'sent_twice' end as out_of_scope_reason,
    stays.record_id as patient_id,
    case sent.gender when '0' then 'female' when '1' then 'male' else 'unknown' end as sex
from stays
left join sent on sent.record_file = stays.record_file
