-- patient from patients.csv: one row per person.
-- Only the year of birth is known (anchor_year - anchor_age): 1 January of it, so that an age counted in years is the age
-- by which MIMIC-IV goes, anchor_age + (year - anchor_year). Ages above 89 come as 91.
-- deceased_at: the time of death in the hospital; else dod, a date alone, known to the state up to a year after discharge.
with death_in_hospital as (
    select subject_id, min(deathtime) as deathtime
    from admissions
    where deathtime is not null
    group by subject_id
)
select
    patients.record_file,
    patients.record_line,
    subject_id as patient_id,
    lpad((try_cast(anchor_year as integer) - try_cast(anchor_age as integer))::varchar, 4, '0') || '-01-01' as birth_date,
    case gender when 'F' then 'female' when 'M' then 'male' else 'unknown' end as sex,
    coalesce(deathtime, dod) as deceased_at
from patients
left join death_in_hospital using (subject_id)
