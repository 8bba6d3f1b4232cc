-- encounter from admissions.csv: one row per stay in the hospital (hadm_id). Visits to the emergency department that did
-- not lead to a stay have no id of a stay and are no encounter; they show in encounter_location.
-- OBSERVATION ADMIT began under observation and became an inpatient stay: class inpatient, admission type observation.
-- service: the first one of the stay, the one known at admission.
with first_service as (
    select hadm_id, arg_min(curr_service, transfertime) as service
    from services
    group by hadm_id
),
stay as (
    select
        admissions.*,
        service,
        case
            when admission_type in ('EU OBSERVATION', 'DIRECT OBSERVATION', 'AMBULATORY OBSERVATION') then 'observation'
            when admission_type in (
                'EW EMER.', 'DIRECT EMER.', 'URGENT', 'ELECTIVE', 'SURGICAL SAME DAY ADMISSION', 'OBSERVATION ADMIT'
            ) then 'inpatient'
        end as class,
        case
            when admission_type in ('EW EMER.', 'DIRECT EMER.') then 'emergency'
            when admission_type = 'URGENT' then 'urgent'
            when admission_type in ('ELECTIVE', 'SURGICAL SAME DAY ADMISSION') then 'elective'
            when admission_type like '%OBSERVATION%' then 'observation'
        end as type_of_admission,
        case admission_location
            when 'EMERGENCY ROOM' then 'emergency_department'
            when 'TRANSFER FROM HOSPITAL' then 'acute_hospital'
            when 'TRANSFER FROM SKILLED NURSING FACILITY' then 'skilled_nursing'
            when 'PHYSICIAN REFERRAL' then 'clinic'
            when 'CLINIC REFERRAL' then 'clinic'
            when 'WALK-IN/SELF REFERRAL' then 'home'
            when 'INFORMATION NOT AVAILABLE' then null
            else 'other'
        end as admission_source,
        case
            when hospital_expire_flag = '1' or discharge_location = 'DIED' then 'died'
            when discharge_location = 'HOME' then 'home'
            when discharge_location = 'HOME HEALTH CARE' then 'home_health'
            when discharge_location = 'SKILLED NURSING FACILITY' then 'skilled_nursing'
            when discharge_location = 'REHAB' then 'rehab'
            when discharge_location = 'CHRONIC/LONG TERM ACUTE CARE' then 'long_term_care'
            when discharge_location = 'ACUTE HOSPITAL' then 'acute_hospital'
            when discharge_location = 'PSYCH FACILITY' then 'psychiatric'
            when discharge_location = 'HOSPICE' then 'hospice'
            when discharge_location = 'AGAINST ADVICE' then 'against_advice'
            else 'other'
        end as disposition
    from admissions
    left join first_service using (hadm_id)
)
select
    record_file,
    record_line,
    case when class is null then 'bad_value' end as problem,
    case when class is null then 'admission_type' end as problem_detail,
    subject_id as patient_id,
    admittime as effective_at,
    hadm_id as encounter_id,
    class,
    type_of_admission as admission_type,
    admission_source,
    admittime as started_at,
    dischtime as ended_at,
    case when dischtime is not null then disposition end as discharge_disposition,
    service
from stay
