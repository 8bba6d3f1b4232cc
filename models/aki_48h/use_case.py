"""Acute kidney injury within the next 48 hours of an inpatient stay."""

from datetime import timedelta
from pathlib import Path

from models.aki_48h.estimator import build_estimator
from models.use_case import ChangePlan, Monitoring, PromotionGate, UseCase, WriteBack

USE_CASE = UseCase(
    name="aki_48h",
    question="Will this inpatient's creatinine rise to acute kidney injury within the next 48 hours?",
    owner="nephrology",
    horizon=timedelta(hours=48),
    max_age=timedelta(hours=6),
    schedule_hours=(0, 6, 12, 18),
    features=(
        "patient_demographics:age_years",
        "patient_demographics:is_female",
        "encounter_history:in_stay_hours",
        "encounter_history:prior_inpatient_stay_365d_count",
        "encounter_history:is_emergency_admission",
        "comorbidity:charlson_score",
        "comorbidity:is_heart_failure",
        "comorbidity:is_renal_disease",
        "comorbidity:is_liver_disease",
        "comorbidity:is_diabetes",
        "recent_labs:creatinine_last_mg_dl",
        "recent_labs:creatinine_since_last_hours",
        "recent_labs:creatinine_lowest_7d_mg_dl",
        "recent_labs:creatinine_median_365d_mg_dl",
        "recent_labs:creatinine_rise_24h_mg_dl",
        "recent_labs:creatinine_rise_48h_mg_dl",
        "recent_labs:creatinine_to_lowest_7d_ratio",
        "recent_labs:creatinine_to_median_365d_ratio",
        "recent_labs:creatinine_slope_48h_mg_dl_per_day",
        "recent_labs:creatinine_draw_48h_count",
        "recent_labs:bun_last_mg_dl",
        "recent_labs:potassium_last_mmol_l",
        "recent_labs:sodium_last_mmol_l",
        "recent_labs:hemoglobin_last_g_dl",
        "recent_labs:leukocytes_last_10e3_ul",
        "recent_labs:lactate_last_mmol_l",
        "vital_signs:heart_rate_last_per_min",
        "vital_signs:systolic_pressure_lowest_mm_hg",
        "vital_signs:respiratory_rate_last_per_min",
        "vital_signs:temperature_highest_cel",
    ),
    required=("recent_labs:creatinine_last_mg_dl",),
    estimator=build_estimator,
    gate=PromotionGate(min_auroc_lower=0.70),
    monitoring=Monitoring(),
    change_plan=ChangePlan(
        may_change=("fitted parameters on newer data", "calibration map", "reference bins of monitoring"),
        needs_people=("features", "estimator", "cohort and label", "gate", "threshold and bands", "any promotion"),
    ),
    write_back=WriteBack(
        outcome_text="Acute kidney injury (KDIGO, creatinine) within 48 hours",
        outcome_system="urn:rounds:outcome",
        outcome_code="aki_48h",
        bands=((0.0, "low"), (0.05, "moderate"), (0.20, "high")),
        threshold=0.20,
    ),
    subgroups=("is_female", "age_years", "is_renal_disease"),
    folder=Path(__file__).resolve().parent,
)
