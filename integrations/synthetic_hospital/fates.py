"""What happens to every patient after a discharge: the next admission, and why, or death.

Unplanned returns start from 24 h to 30 days after the discharge with exactly the true risk. Whoever does not return
stays away for more than 30 days, but for a planned return or for a relapse within 24 h, which is the same episode.
"""

from dataclasses import dataclass

import numpy as np

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import CONDITION, DIED, TO_HOSPICE
from integrations.synthetic_hospital.frames import Flags, Patients, Stays
from integrations.synthetic_hospital.patients import logistic

EARLIEST, LATEST, AWAY = 1.01, 29.9, 30.5  # days after discharge
SAME_EPISODE, PLANNED_RETURN, PLANNED_RETURN_IN_CANCER = 0.010, 0.025, 0.12


@dataclass(frozen=True, kw_only=True)
class Due:
    """When each patient comes next, and why; inf means never."""

    start: Floats
    is_return: Flags  # unplanned, because of the stay before
    is_planned_return: Flags
    not_unplanned_before: Floats  # the window of an earlier discharge that stays without an unplanned return


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What came of one discharge of every patient."""

    is_readmitted: Flags
    is_same_episode: Flags
    died_at: Floats
    due: Due


def first_due(rng: np.random.Generator, patients: Patients) -> Due:
    """Everybody's first admission."""
    count = len(patients)
    nobody = np.zeros(count, dtype=bool)
    return Due(
        start=rng.exponential(1 / patients.admissions_a_day),
        is_return=nobody,
        is_planned_return=nobody,
        not_unplanned_before=np.full(count, -np.inf),
    )


def draw_fate(rng: np.random.Generator, patients: Patients, due: Due, stay: Stays, risk: Floats) -> Fate:
    """Draw what follows a discharge."""
    count, end, disposition = len(patients), stay.end, stay.disposition
    has_cancer = patients.conditions[:, CONDITION["cancer"]]
    lives = disposition != DIED
    relapses = lives & (rng.random(count) < SAME_EPISODE) & (end > due.not_unplanned_before)
    returns = lives & ~relapses & (rng.random(count) < risk)
    dies = lives & ~relapses & ~returns & (rng.random(count) < _risk_of_death(stay, has_cancer))
    planned_share = np.where(has_cancer, PLANNED_RETURN_IN_CANCER, PLANNED_RETURN)
    is_planned = (rng.random(count) < planned_share) & ~relapses & ~returns & ~dies
    opens = np.maximum(end + EARLIEST, due.not_unplanned_before)
    return_at = opens + (end + LATEST - opens) * rng.beta(0.9, 1.5, count)
    planned_at = np.floor(end + rng.uniform(4, 26, count)) + 0.33
    relapse_at = end + rng.uniform(0.1, 0.95, count)
    next_at = end + AWAY + rng.exponential(1 / patients.admissions_a_day)
    died_at = np.where(dies, end + rng.uniform(1, 45, count), np.where(lives, np.nan, end))
    start = np.select(
        [~np.isnan(died_at), relapses, returns, is_planned], [np.inf, relapse_at, return_at, planned_at], next_at
    )
    quiet = np.where(is_planned, np.maximum(end + AWAY, due.not_unplanned_before), -np.inf)
    return Fate(
        is_readmitted=returns,
        is_same_episode=relapses,
        died_at=died_at,
        due=Due(start=start, is_return=relapses | returns, is_planned_return=is_planned, not_unplanned_before=quiet),
    )


def _risk_of_death(stay: Stays, has_cancer: Flags) -> Floats:
    """Probability of dying within weeks of the discharge, among those who do not come back."""
    log_odds = -4.6 + 0.5 * stay.severity + 0.03 * (stay.age - 65) + has_cancer
    return np.where(stay.disposition == TO_HOSPICE, 0.8, logistic(log_odds))
