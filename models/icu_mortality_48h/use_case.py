"""In-hospital death, asked 48 hours after admission to intensive care."""

from datetime import timedelta
from pathlib import Path

from models.icu_mortality_48h.estimator import build_estimator
from models.use_case import ChangePlan, Monitoring, PromotionGate, UseCase, WriteBack

SIGNS = {
    "heart_rate": "per_min",
    "respiratory_rate": "per_min",
    "temperature": "cel",
    "systolic_pressure": "mm_hg",
    "diastolic_pressure": "mm_hg",
    "mean_pressure": "mm_hg",
    "coma": "score",
    "inspired_oxygen": "percent",
}
OF_A_SIGN = (
    *("first_48h", "last_48h", "lowest_48h", "highest_48h", "mean_48h"),
    *("lowest_24h", "highest_24h", "mean_24h"),
)
LABS = {
    "urea_nitrogen": "mg_dl",
    "creatinine": "mg_dl",
    "glucose": "mg_dl",
    "bicarbonate": "mmol_l",
    "hematocrit": "percent",
    "potassium": "mmol_l",
    "sodium": "mmol_l",
    "magnesium": "mg_dl",
    "platelets": "10e3_ul",
    "leukocytes": "10e3_ul",
    "lactate": "mmol_l",
    "arterial": "ph",
    "carbon_dioxide_tension": "mm_hg",
    "oxygen_tension": "mm_hg",
}
OF_A_LAB = ("first_48h", "last_48h", "lowest_48h", "highest_48h")

USE_CASE = UseCase(
    name="icu_mortality_48h",
    question="Will this patient, 48 hours in intensive care, die before leaving the hospital?",
    owner="intensive care",
    # a stay has no end that is known beforehand; nearly all of those that end in death do so within 60 days
    horizon=timedelta(days=60),
    max_age=timedelta(hours=24),
    schedule_hours=(0, 6, 12, 18),
    features=(
        "icu_care:age_charted_years",
        "patient_demographics:is_female",
        "icu_care:is_coronary_care",
        "icu_care:is_cardiac_surgery_recovery",
        "icu_care:is_medical_icu",
        "icu_care:is_surgical_icu",
        "icu_care:weight_first_48h_kg",
        "icu_care:urine_48h_ml",
        "icu_care:urine_24h_ml",
        "icu_care:urine_charted_48h_count",
        "icu_care:ventilation_48h_hours",
        "icu_care:ventilation_since_last_hours",
        *(f"icu_vital_signs:{sign}_{what}_{unit}" for sign, unit in SIGNS.items() for what in OF_A_SIGN),
        "icu_vital_signs:oxygen_saturation_last_48h_percent",
        "icu_vital_signs:oxygen_saturation_lowest_48h_percent",
        *(f"icu_labs:{lab}_{what}_{unit}" for lab, unit in LABS.items() for what in OF_A_LAB),
        "icu_labs:bilirubin_last_48h_mg_dl",
        "icu_labs:albumin_last_48h_g_dl",
        "icu_labs:alkaline_phosphatase_last_48h_iu_l",
        "icu_labs:alanine_aminotransferase_last_48h_iu_l",
        "icu_labs:aspartate_aminotransferase_last_48h_iu_l",
        "icu_labs:troponin_t_last_48h_ng_ml",
        "icu_labs:troponin_i_last_48h_ng_ml",
    ),
    required=(),  # the question is asked of each stay, and no single value is always known
    # a weight is sent at admission as age and sex are; it may be estimated, and says nothing of the 48 h
    descriptors=(
        "icu_care:age_charted_years",
        "patient_demographics:is_female",
        "icu_care:is_coronary_care",
        "icu_care:is_cardiac_surgery_recovery",
        "icu_care:is_medical_icu",
        "icu_care:is_surgical_icu",
        "icu_care:weight_first_48h_kg",
    ),
    estimator=build_estimator,
    gate=PromotionGate(min_auroc_lower=0.80),
    monitoring=Monitoring(),
    change_plan=ChangePlan(
        may_change=("fitted parameters on newer data", "calibration map", "reference bins of monitoring"),
        needs_people=("features", "estimator", "cohort and label", "gate", "threshold and bands", "any promotion"),
    ),
    write_back=WriteBack(
        outcome_text="Death before discharge from the hospital",
        outcome_system="urn:rounds:outcome",
        outcome_code="icu_mortality_48h",
        bands=((0.0, "low"), (0.10, "moderate"), (0.315, "high")),
        threshold=0.315,
    ),
    subgroups=("is_female", "age_charted_years", "is_medical_icu", "is_surgical_icu", "is_cardiac_surgery_recovery"),
    folder=Path(__file__).resolve().parent,
)
