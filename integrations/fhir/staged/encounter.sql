-- One staged row per Encounter resource. A planned stay is no stay yet and a cancelled one never was: out of scope.
-- Codes: v3-ActCode (class), v3-ActPriority and HL7 table 0007 (priority), FHIR admit-source and NUBC point of origin,
-- FHIR discharge-disposition (where `hosp` means hospice) and NUBC patient discharge status. A code that is not here is
-- a bad_value; a type code that is not here says nothing about the urgency.
with worded as (
    select
        *,
        case
            when status = 'planned' or class_code = 'PRENC' then 'planned'
            when status = 'cancelled' then 'cancelled'
        end as out_of_scope,
        case
            when class_code in ('IMP', 'ACUTE', 'NONAC') then 'inpatient'
            when class_code = 'EMER' then 'emergency'
            when class_code = 'OBSENC' then 'observation'
            when class_code in ('AMB', 'VR') then 'ambulatory'
            when class_code in ('HH', 'FLD', 'SS') then 'other'
        end as class_word,
        case
            when priority in ('EM', 'E', 'A', 'S', 'CR', 'CS', 'CSP', 'CSR', '1') then 'emergency'
            when priority in ('UR', 'U', 'RR', 'PRN', 'UD', '2') then 'urgent'
            when priority in ('EL', 'C', 'R', '3') then 'elective'
            when priority in ('N', '4') then 'newborn'
            when priority in ('L', 'P', 'T', '5', '9') then 'other'
        end as priority_word,
        case
            when class_code = 'OBSENC' then 'observation'
            when class_code = 'EMER' then 'emergency'
            when type_code in ('50849002', '183452005', '183478001', '183460006', '4525004') then 'emergency' -- SNOMED CT
            when type_code in ('8715000', '183495009') then 'elective' -- SNOMED CT
        end as type_word,
        case
            when admit_source in ('emd', '7') then 'emergency_department'
            when admit_source in ('hosp-trans', '4') then 'acute_hospital'
            when admit_source in ('nursing', '5') then 'skilled_nursing'
            when admit_source in ('outp', 'gp', 'mp', '2') then 'clinic'
            when admit_source in ('home', '1') then 'home'
            when admit_source in ('born', 'psych', 'rehab', 'other', '6', '8', '9', 'D', 'E', 'F') then 'other'
        end as source_word,
        case
            when disposition in ('home', 'alt-home', '01', '81') then 'home'
            when disposition in ('06', '86') then 'home_health'
            when disposition in ('snf', '03', '61', '83', '89') then 'skilled_nursing'
            when disposition in ('rehab', '62', '90') then 'rehab'
            when disposition in ('long', '04', '63', '64', '84', '91', '92') then 'long_term_care'
            when disposition in ('02', '05', '43', '66', '82', '85', '88', '94') then 'acute_hospital'
            when disposition in ('psy', '65', '93') then 'psychiatric'
            when disposition in ('hosp', 'hospice', '50', '51') then 'hospice'
            when disposition in ('aadvice', '07') then 'against_advice'
            when disposition in ('exp', '20', '40', '41', '42') then 'died'
            when disposition in ('oth', 'other-hcf', '21', '69', '70', '87', '95') then 'other'
        end as disposition_word
    from flat
),
judged as (
    select
        *,
        case
            when problem is not null or out_of_scope is not null then null
            when status not in ('arrived', 'triaged', 'in-progress', 'onleave', 'finished', 'entered-in-error', 'unknown')
                then 'status'
            when class_word is null and class_code is not null then 'class'
            when priority_word is null and priority is not null then 'priority'
            when source_word is null and admit_source is not null then 'hospitalization.admitSource'
            when disposition_word is null and disposition is not null then 'hospitalization.dischargeDisposition'
        end as unknown_code
    from worded
)
select
    record_file,
    record_line,
    case when unknown_code is not null then 'bad_value' else problem end as problem,
    coalesce(unknown_code, problem_detail) as problem_detail,
    problem is null and out_of_scope is not null as is_empty,
    case when problem is null then out_of_scope end as out_of_scope_reason,
    patient_id,
    started_at as effective_at,
    last_updated as issued_at,
    coalesce(status = 'entered-in-error', false) as is_retracted,
    case when problem is not null or out_of_scope is null then id end as encounter_id,
    class_word as class,
    coalesce(priority_word, type_word) as admission_type,
    source_word as admission_source,
    started_at,
    case when status in ('arrived', 'triaged', 'in-progress', 'onleave') then null else ended_at end as ended_at,
    disposition_word as discharge_disposition,
    coalesce(service_text, service_display, service_code) as service
from judged
