"""The people the hospital looks after: age, sex, chronic diseases, kidneys, and how often they come."""

import numpy as np
import numpy.typing as npt

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import CONDITION, CONDITIONS
from integrations.synthetic_hospital.frames import Patients

YOUNGEST, OLDEST = 16, 97
ON_PROBLEM_LIST = 0.96  # of chronic diseases; the others show only in what was billed before
ADMISSIONS_A_YEAR = 0.188  # of a healthy person of 60


def logistic(log_odds: Floats) -> Floats:
    """Probability of log odds."""
    return 1 / (1 + np.exp(-log_odds))


def draw_patients(rng: np.random.Generator, first: int, count: int) -> Patients:
    """Draw one bucket of people, numbered from `first` on."""
    elderly = rng.random(count) < 0.75
    age = np.where(elderly, rng.normal(63, 15, count), rng.normal(38, 12, count)).clip(YOUNGEST, OLDEST)
    is_male = rng.random(count) < 0.49
    frailty = rng.normal(0, 1, count)
    conditions = _draw_conditions(rng, age, frailty)
    has_kidney_disease = conditions[:, CONDITION["kidney_disease"]]
    is_on_dialysis = has_kidney_disease & (rng.random(count) < 0.07)
    burden = conditions.sum(axis=1)
    return Patients(
        number=np.arange(first, first + count),
        age=age,
        is_male=is_male,
        frailty=frailty,
        conditions=conditions,
        problem_list=conditions & (rng.random(conditions.shape) < ON_PROBLEM_LIST),
        creatinine=_draw_creatinine(rng, age, is_male, has_kidney_disease, is_on_dialysis),
        is_on_dialysis=is_on_dialysis,
        admissions_a_day=ADMISSIONS_A_YEAR / 365 * np.exp(0.40 * frailty + 0.24 * burden + 0.010 * (age - 60)),
        died_at=np.full(count, np.nan),
        registered_at=np.full(count, np.nan),
        merged_at=np.full(count, np.nan),
    )


def _draw_conditions(rng: np.random.Generator, age: Floats, frailty: Floats) -> npt.NDArray[np.bool_]:
    log_odds = np.stack([c.log_odds + c.per_year * (age - 55) for c in CONDITIONS], axis=1)
    return rng.random(log_odds.shape) < logistic(log_odds + 0.55 * frailty[:, None])


def _draw_creatinine(
    rng: np.random.Generator,
    age: Floats,
    is_male: npt.NDArray[np.bool_],
    has_kidney_disease: npt.NDArray[np.bool_],
    is_on_dialysis: npt.NDArray[np.bool_],
) -> Floats:
    """Creatinine when well, mg/dL; some of those with kidney disease are at 4.0 or above without dialysis."""
    spread = rng.normal(0, 1, len(age))
    well = np.exp(np.where(is_male, -0.02, -0.25) + 0.003 * (age - 60) + 0.16 * spread)
    diseased = well * np.exp(0.62 + 0.12 * spread)
    is_stage_five = rng.random(len(age)) < 0.03
    failing = np.where(is_on_dialysis, 6.5, 4.6) * np.exp(0.12 * spread)
    fails = has_kidney_disease & (is_on_dialysis | is_stage_five)
    return np.where(fails, failing, np.where(has_kidney_disease, diseased, well))
