"""How likely it is to come back: the true risk of an unplanned readmission, by what the record shows at discharge.

Nothing hidden enters it, so that a model that knew this function could not be beaten: the Bayes-optimal risk. The
scenarios `concept` and `prevalence` change it from the first night on.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import AGAINST_ADVICE, CONDITION, TO_HOSPICE, TO_NURSING
from integrations.synthetic_hospital.patients import logistic

INTERCEPT = -2.62


@dataclass(frozen=True, kw_only=True)
class RiskChange:
    """What a scenario changes in the true risk for discharges from `since` on (days)."""

    since: float
    has_new_therapy: bool = False  # a cardiorenal therapy that takes the risk of heart and kidney disease away
    added_log_odds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AtDischarge:
    """What the record shows at discharge, one row per patient."""

    end: Floats
    age: Floats
    conditions: npt.NDArray[np.bool_]
    is_unplanned: npt.NDArray[np.bool_]
    days: Floats
    disposition: npt.NDArray[np.int64]
    earlier_stays: npt.NDArray[np.int64]  # ended in the 365 days before this admission
    emergency_visits: npt.NDArray[np.int64]  # in the 180 days before this admission
    creatinine: Floats
    bun: Floats
    sodium: Floats
    hemoglobin: Floats


def readmission_risk(seen: AtDischarge, change: RiskChange) -> Floats:
    """Probability of an unplanned admission from 24 h to 30 days after the discharge, for those who go home alive."""
    has_therapy = change.has_new_therapy & (seen.end >= change.since)

    def weight(usual: float, under_therapy: float) -> Floats:
        return np.where(has_therapy, under_therapy, usual)

    def has(key: str) -> npt.NDArray[np.bool_]:
        return seen.conditions[:, CONDITION[key]]

    log_odds = (
        INTERCEPT
        + weight(0.55, -0.50) * has("heart_failure")
        + weight(0.24, -0.40) * has("kidney_disease")
        + 0.36 * has("lung_disease")
        + 0.10 * has("diabetes")
        + 0.62 * has("cancer")
        + 0.15 * has("dementia")
        + 0.45 * np.log1p(seen.earlier_stays)
        + 0.30 * np.log1p(seen.emergency_visits)
        + 0.007 * (seen.age - 65)
        + 0.36 * seen.is_unplanned
        + 0.26 * np.log(seen.days / 4)
        + 0.18 * (seen.disposition == TO_NURSING)
        + 0.20 * (seen.disposition == AGAINST_ADVICE)
        - 2.00 * (seen.disposition == TO_HOSPICE)
        + weight(0.30, -0.20) * np.log(seen.creatinine).clip(-1, 1.2)
        + 0.27 * np.log(seen.bun / 17)
        - 0.045 * (seen.sodium - 139)
        - 0.170 * (seen.hemoglobin - 11.4)
        + change.added_log_odds * (seen.end >= change.since)
    )
    return logistic(log_odds)
