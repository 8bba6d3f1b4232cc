-- Charlson comorbidities from the diagnoses known at prediction_time, of any earlier date. One row per spine row.
-- ICD-9-CM and ICD-10-CM by Quan et al., Med Care 2005;43:1130-9, https://doi.org/10.1097/01.mlr.0000182534.19832.83
-- (enhanced ICD-9-CM and ICD-10 lists: charlson.csv), weights of Charlson et al. 1987; the graver of two forms counts alone.
-- Null when no diagnosis in ICD is known: nothing coded yet, or only codes of a system without mapping (SNOMED), is not "healthy".
-- Zero when diagnoses are known and none of them is on the list.
-- codes: none
-- hold window: 0 hours
-- owner: clinical informatics
-- freshness: 24 hours
with person as materialized (
    select s.encounter_id, s.prediction_time, p.other_patient_id
    from spine as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

coded as (
    select distinct code_system, code from condition where code_system in ('icd-9-cm', 'icd-10-cm')
),

-- a code without a Charlson condition stays, with null: it says that the patient has been coded
listed as (
    select coded.code_system, coded.code, charlson.condition as comorbidity, charlson.weight::int as weight
    from coded
    left join charlson
        on charlson.code_system = coded.code_system
        and starts_with(coded.code, charlson.prefix)
),

diagnosed as (
    select distinct person.encounter_id, person.prediction_time, listed.comorbidity, listed.weight
    from person
    join condition as c
        on c.patient_id = person.other_patient_id
        and c.available_at <= person.prediction_time
        and person.prediction_time < c.superseded_at
        and not c.is_retracted
    join listed
        on listed.code_system = c.code_system
        and listed.code = c.code
),

flagged as (
    select
        encounter_id,
        prediction_time,
        count(comorbidity) as listed_count,
        coalesce(sum(weight), 0) as weight_sum,
        coalesce(bool_or(comorbidity = 'myocardial_infarction'), false) as is_infarction,
        coalesce(bool_or(comorbidity = 'heart_failure'), false) as is_heart_failure,
        coalesce(bool_or(comorbidity = 'cerebrovascular_disease'), false) as is_cerebrovascular,
        coalesce(bool_or(comorbidity = 'dementia'), false) as is_dementia,
        coalesce(bool_or(comorbidity = 'chronic_pulmonary_disease'), false) as is_pulmonary,
        coalesce(bool_or(comorbidity = 'renal_disease'), false) as is_renal,
        coalesce(bool_or(comorbidity = 'mild_liver_disease'), false) as is_mild_liver,
        coalesce(bool_or(comorbidity = 'moderate_or_severe_liver_disease'), false) as is_severe_liver,
        coalesce(bool_or(comorbidity = 'diabetes_without_complication'), false) as is_mild_diabetes,
        coalesce(bool_or(comorbidity = 'diabetes_with_complication'), false) as is_severe_diabetes,
        coalesce(bool_or(comorbidity = 'malignancy'), false) as is_malignancy,
        coalesce(bool_or(comorbidity = 'metastatic_solid_tumor'), false) as is_metastatic
    from diagnosed
    group by encounter_id, prediction_time
),

-- the milder form of liver disease, diabetes or cancer does not count beside the graver one
doubled as (
    select
        *,
        (is_mild_liver and is_severe_liver)::int as liver,
        (is_mild_diabetes and is_severe_diabetes)::int as diabetes,
        (is_malignancy and is_metastatic)::int as cancer
    from flagged
)

select
    s.encounter_id,
    s.prediction_time,
    (d.listed_count - d.liver - d.diabetes - d.cancer)::double
        as charlson_condition_count,            -- Charlson conditions, the graver form alone
    (d.weight_sum - d.liver - d.diabetes - 2 * d.cancer)::double
        as charlson_score,                      -- weighted sum, without age
    d.is_infarction::int::double
        as is_myocardial_infarction,            -- any earlier or present infarction
    d.is_heart_failure::int::double
        as is_heart_failure,                    -- heart failure
    d.is_cerebrovascular::int::double
        as is_cerebrovascular_disease,          -- stroke and kin
    d.is_dementia::int::double
        as is_dementia,                         -- dementia
    d.is_pulmonary::int::double
        as is_chronic_pulmonary_disease,        -- chronic pulmonary disease
    d.is_renal::int::double
        as is_renal_disease,                    -- chronic renal disease
    (d.is_mild_liver or d.is_severe_liver)::int::double
        as is_liver_disease,                    -- liver disease of any degree
    (d.is_mild_diabetes or d.is_severe_diabetes)::int::double
        as is_diabetes,                         -- diabetes, with or without complication
    (d.is_malignancy or d.is_metastatic)::int::double
        as is_cancer                            -- malignancy, metastatic or not, but of the skin
from spine as s
left join doubled as d
    on d.encounter_id = s.encounter_id
    and d.prediction_time = s.prediction_time
