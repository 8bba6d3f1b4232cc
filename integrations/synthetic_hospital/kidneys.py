"""Acute kidney injury: who is at risk, when it strikes, and how creatinine follows.

An injury begins in the stay, after admission. Blood pressure falls and heart rate rises in the day before it, urea
rises some hours ahead of creatinine, and creatinine climbs over one to two days: the warning that a model can use.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import CONDITION
from integrations.synthetic_hospital.frames import Flags, Integers, Patients, Stays
from integrations.synthetic_hospital.patients import logistic

PRERENAL_DAYS = 1.3  # time in which a dry patient's creatinine falls to 1/e after admission
HEALING_DAYS = 2.5
UREA_LEADS_BY = 0.3  # days


@dataclass(frozen=True, kw_only=True)
class Injury:
    """The fate of the kidneys in one stay; columns as in Stays."""

    injury_risk: Floats
    is_injured: Flags
    injury_size: Floats
    injury_rise: Floats
    injury_remains: Floats
    injury_place: Floats  # share of the stay after which it strikes


def draw_injury(rng: np.random.Generator, patients: Patients, age: Floats, severity: Floats) -> Injury:
    """Draw whether, when and how badly the kidneys are hurt; those who are on dialysis have nothing to lose."""
    count = len(patients)
    kidney_disease = patients.conditions[:, CONDITION["kidney_disease"]]
    heart_failure = patients.conditions[:, CONDITION["heart_failure"]]
    log_odds = -2.95 + 0.90 * severity + 0.8 * kidney_disease + 0.3 * heart_failure + 0.022 * (age - 65)
    risk = np.where(patients.is_on_dialysis, 0, logistic(log_odds))
    return Injury(
        injury_risk=risk,
        is_injured=rng.random(count) < risk,
        injury_size=rng.uniform(0.5, 1.15, count),
        injury_rise=rng.uniform(1.3, 2.3, count),
        injury_remains=rng.uniform(0.05, 0.45, count),
        injury_place=rng.uniform(0.22, 0.55, count),
    )


def kidney_columns(
    rng: np.random.Generator, injury: Injury, severity: Floats, is_planned: Flags, start: Floats, end: Floats
) -> dict[str, npt.NDArray[Any]]:
    """What Stays says of the kidneys; who is admitted dry has a creatinine above the usual that heals within days."""
    count = len(start)
    place = np.where(injury.is_injured, injury.injury_place, np.nan)
    return {
        "prerenal": (0.10 * severity + 0.12 * rng.normal(0, 1, count) - 0.1 * is_planned).clip(0, 0.6),
        "bun_level": 0.10 * severity + rng.normal(0, 0.20, count),
        "injury_risk": injury.injury_risk,
        "injury_at": start + place * (end - start),
        "injury_size": injury.injury_size,
        "injury_rise": injury.injury_rise,
        "injury_remains": injury.injury_remains,
    }


def injury_course(stays: Stays, row: Integers, at: Floats) -> Floats:
    """How far an injury has come at an instant: 0 before it, 1 at its peak, then down to what never heals."""
    since = at - stays.injury_at[row]
    rise = stays.injury_rise[row]
    remains = stays.injury_remains[row]
    step = (since / rise).clip(0, 1)
    healed = remains + (1 - remains) * np.exp(-(since - rise).clip(0, None) / HEALING_DAYS)
    return np.asarray(np.nan_to_num(step**2 * (3 - 2 * step) * np.where(step < 1, 1, healed)))


def creatinine_log_rise(stays: Stays, row: Integers, at: Floats) -> Floats:
    """Log of creatinine over the patient's own when well."""
    dry = stays.prerenal[row] * np.exp(-(at - stays.start[row]) / PRERENAL_DAYS)
    return dry + stays.injury_size[row] * injury_course(stays, row, at)


def urea_log_rise(stays: Stays, row: Integers, at: Floats) -> Floats:
    """As creatinine, some hours ahead of it."""
    dry = stays.prerenal[row] * np.exp(-(at - stays.start[row]) / PRERENAL_DAYS)
    return 1.2 * dry + 0.9 * stays.injury_size[row] * injury_course(stays, row, at + UREA_LEADS_BY)


def shock(stays: Stays, row: Integers, at: Floats) -> Floats:
    """0 to 1: how low the circulation is, around the hours before an injury strikes."""
    since = at - stays.injury_at[row]
    return np.nan_to_num(np.exp(-(((since + 0.35) / 0.6) ** 2)))
