"""One admission of every patient: how it came about, how ill the patient is, for how long, and where to afterwards."""

import numpy as np
import numpy.typing as npt

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import (
    AGAINST_ADVICE,
    CONDITION,
    DIED,
    ELECTIVE,
    EMERGENT,
    FROM_EMERGENCY,
    FROM_HOSPITAL,
    FROM_NURSING,
    FROM_OUTPATIENT,
    FROM_PRACTITIONER,
    SERVICES,
    TO_HOME,
    TO_HOSPICE,
    TO_HOSPITAL,
    TO_NURSING,
    TO_REHAB,
    URGENT,
)
from integrations.synthetic_hospital.frames import Flags, Integers, Patients
from integrations.synthetic_hospital.patients import logistic

SHORTEST, LONGEST = 0.6, 45.0  # days


def draw_priority(rng: np.random.Generator, is_return: Flags, is_planned_return: Flags) -> Integers:
    """Emergency, urgent or elective: a return is unplanned unless it was planned at discharge."""
    dice = rng.random(len(is_return))
    unplanned = np.where(dice < 0.86, EMERGENT, URGENT)
    usual = np.select([dice < 0.58, dice < 0.68], [EMERGENT, URGENT], ELECTIVE)
    return np.where(is_planned_return, ELECTIVE, np.where(is_return, unplanned, usual))


def draw_source(rng: np.random.Generator, priority: Integers, age: Floats) -> Integers:
    """From where the patient came in."""
    dice = rng.random(len(priority))
    from_nursing = np.where(age > 75, 0.10, 0.02)
    unplanned = np.select([dice < from_nursing, dice > 0.95], [FROM_NURSING, FROM_HOSPITAL], FROM_EMERGENCY)
    planned = np.where(dice < 0.6, FROM_PRACTITIONER, FROM_OUTPATIENT)
    return np.where(priority == ELECTIVE, planned, unplanned)


def draw_service(rng: np.random.Generator, conditions: npt.NDArray[np.bool_], is_planned: Flags) -> Integers:
    """The service that takes the patient, by what is wrong with them."""

    def has(key: str) -> npt.NDArray[np.bool_]:
        return conditions[:, CONDITION[key]]

    pull = np.stack(
        [
            np.ones(len(is_planned)),
            1 + 2.5 * has("heart_failure") + has("atrial_fibrillation"),
            np.where(is_planned, 1.8, 0.7),
            1 + 5 * has("kidney_disease"),
            0.2 + 6 * has("cancer"),
        ],
        axis=1,
    )
    weights = (pull * [service.share for service in SERVICES]).cumsum(axis=1)
    return np.asarray((rng.random(len(is_planned))[:, None] * weights[:, -1:] > weights).sum(axis=1))


def draw_severity(rng: np.random.Generator, frailty: Floats, is_planned: Flags) -> Floats:
    """How ill the patient is at admission, about a standard normal; vital signs and tests show it."""
    return 0.5 * frailty + rng.normal(0, 0.85, len(frailty)) + np.where(is_planned, -0.35, 0.25)


def draw_days(rng: np.random.Generator, service: Integers, severity: Floats, is_injured: Flags) -> Floats:
    """Length of stay; an injured kidney takes its time."""
    usual = np.array([service.log_days for service in SERVICES])[service]
    days = np.exp(usual + 0.22 * severity + rng.normal(0, 0.55, len(service)))
    return np.where(is_injured, np.maximum(1.4 * days, 3.2), days).clip(SHORTEST, LONGEST)


def discharge_time(rng: np.random.Generator, start: Floats, days: Floats) -> Floats:
    """Discharges happen between ten and six in the day."""
    hour = rng.uniform(0.42, 0.75, len(start))
    end = np.floor(start + days) + hour
    return np.where(end - start < SHORTEST, end + 1, end)


def draw_disposition(
    rng: np.random.Generator, patients: Patients, age: Floats, severity: Floats, is_injured: Flags
) -> Integers:
    """Where to after the stay; death in hospital among it."""
    has_cancer = patients.conditions[:, CONDITION["cancer"]]
    death = logistic(-5.2 + 1.15 * severity + 0.035 * (age - 65) + 0.9 * has_cancer + 0.8 * is_injured)
    dice = rng.random(len(age))
    nursing = 0.10 + 0.22 * (age > 75)
    alive = np.select(
        [dice < 0.015, dice < 0.029, dice < 0.034 + 0.05 * has_cancer, dice < 0.08 + nursing, dice < 0.13 + nursing],
        [TO_HOSPITAL, AGAINST_ADVICE, TO_HOSPICE, TO_NURSING, TO_REHAB],
        TO_HOME,
    )
    return np.where(rng.random(len(age)) < death, DIED, alive)
