"""Unplanned readmission within 30 days of an inpatient discharge."""

from datetime import timedelta
from pathlib import Path

from models.readmission_30d.estimator import build_estimator
from models.use_case import ChangePlan, Monitoring, PromotionGate, UseCase, WriteBack

USE_CASE = UseCase(
    name="readmission_30d",
    question="Will this patient come back for an unplanned inpatient stay within 30 days of this discharge?",
    owner="care transitions",
    horizon=timedelta(days=30),
    max_age=timedelta(hours=72),
    schedule_hours=(0,),
    features=(
        "patient_demographics:age_years",
        "patient_demographics:is_female",
        "encounter_history:prior_inpatient_stay_365d_count",
        "encounter_history:prior_observation_stay_365d_count",
        "encounter_history:prior_emergency_visit_180d_count",
        "encounter_history:since_last_discharge_days",
        "encounter_history:stay_length_days",
        "encounter_history:is_emergency_admission",
        "encounter_history:is_from_facility",
        "encounter_history:is_discharged_with_home_health",
        "encounter_history:is_discharged_to_facility",
        "comorbidity:charlson_score",
        "comorbidity:charlson_condition_count",
        "comorbidity:is_heart_failure",
        "comorbidity:is_renal_disease",
        "comorbidity:is_chronic_pulmonary_disease",
        "comorbidity:is_diabetes",
        "comorbidity:is_cancer",
        "recent_labs:creatinine_last_mg_dl",
        "recent_labs:bun_last_mg_dl",
        "recent_labs:sodium_last_mmol_l",
        "recent_labs:potassium_last_mmol_l",
        "recent_labs:glucose_last_mg_dl",
        "recent_labs:albumin_last_g_dl",
        "recent_labs:hemoglobin_last_g_dl",
        "recent_labs:leukocytes_last_10e3_ul",
        "vital_signs:heart_rate_last_per_min",
        "vital_signs:systolic_pressure_last_mm_hg",
        "vital_signs:oxygen_saturation_last_percent",
    ),
    required=("patient_demographics:age_years", "encounter_history:stay_length_days"),
    estimator=build_estimator,
    gate=PromotionGate(min_auroc_lower=0.60),
    monitoring=Monitoring(),
    change_plan=ChangePlan(
        may_change=("fitted parameters on newer data", "calibration map", "reference bins of monitoring"),
        needs_people=("features", "estimator", "cohort and label", "gate", "threshold and bands", "any promotion"),
    ),
    write_back=WriteBack(
        outcome_text="Unplanned inpatient readmission within 30 days of discharge",
        outcome_system="urn:rounds:outcome",
        outcome_code="readmission_30d",
        bands=((0.0, "low"), (0.10, "moderate"), (0.25, "high")),
        threshold=0.25,
    ),
    subgroups=("is_female", "age_years", "is_emergency_admission"),
    folder=Path(__file__).resolve().parent,
)
