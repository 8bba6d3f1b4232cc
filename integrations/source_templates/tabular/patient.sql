-- patient from patients.csv: one row per person.
-- DECIDE how the file names patient_id, birth_date, sex and deceased_at, and which of its words mean which sex; a word
-- that is not listed is quarantined.
with worded as (
    select
        *,
        case lower(trim(sex))
            when 'f' then 'female'
            when 'female' then 'female'
            when 'm' then 'male'
            when 'male' then 'male'
            when 'other' then 'other'
            when 'unknown' then 'unknown'
        end as sex_word
    from patients
)
select
    record_file,
    record_line,
    case when sex is not null and sex_word is null then 'bad_value' end as problem,
    case when sex is not null and sex_word is null then 'sex' end as problem_detail,
    patient_id,
    birth_date,
    sex_word as sex,
    deceased_at
from worded
