-- patient from the file of each stay: who a person is, is not sent, so each stay is a patient of its own.
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
    case when sent.record_id <> stays.record_id then 'bad_value' end as problem,
    case when sent.record_id <> stays.record_id then 'RecordID' end as problem_detail,
    stays.record_id as patient_id,
    case sent.gender when '0' then 'female' when '1' then 'male' else 'unknown' end as sex
from stays
left join sent on sent.record_file = stays.record_file
