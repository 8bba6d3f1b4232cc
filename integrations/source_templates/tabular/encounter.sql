-- encounter from stays.csv: one row per contact with the hospital.
-- DECIDE how the file names its columns, and which of its words mean which class, way of admission and discharge; a class
-- that is not listed is quarantined, another word that is not listed reads as other.
with worded as (
    select
        *,
        case lower(trim(class))
            when 'inpatient' then 'inpatient'
            when 'emergency' then 'emergency'
            when 'observation' then 'observation'
            when 'ambulatory' then 'ambulatory'
            when 'outpatient' then 'ambulatory'
        end as class_word
    from stays
)
select
    record_file,
    record_line,
    case when class is not null and class_word is null then 'bad_value' end as problem,
    case when class is not null and class_word is null then 'class' end as problem_detail,
    patient_id,
    started_at as effective_at,
    updated_at as issued_at,
    encounter_id,
    class_word as class,
    case
        when admission_type in ('emergency', 'urgent', 'elective', 'observation', 'newborn') then admission_type
        when admission_type is not null then 'other'
    end as admission_type,
    case
        when admission_source in ('home', 'emergency_department', 'acute_hospital', 'skilled_nursing', 'clinic')
            then admission_source
        when admission_source is not null then 'other'
    end as admission_source,
    started_at,
    ended_at,
    case
        when ended_at is null then null
        when discharge_disposition in (
            'home', 'home_health', 'skilled_nursing', 'rehab', 'long_term_care', 'acute_hospital', 'psychiatric',
            'hospice', 'against_advice', 'died'
        ) then discharge_disposition
        when discharge_disposition is not null then 'other'
    end as discharge_disposition,
    service
from worded
