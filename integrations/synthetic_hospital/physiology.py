"""What is measured in a stay: laboratory draws and vital signs, true to the illness, the kidneys and the outcome.

Draws come about once a day, twice in the sick; the last one before discharge reports the values on which the true risk
of readmission rests. Vital signs come about as often.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import (
    CARDIOLOGY,
    CONDITION,
    DIED,
    LABORATORY,
    PANEL_OF_ITEM,
    PANELS,
)
from integrations.synthetic_hospital.frames import (
    EVERYTHING,
    Flags,
    Integers,
    Patients,
    Results,
    Stays,
)
from integrations.synthetic_hospital.kidneys import creatinine_log_rise, shock, urea_log_rise
from integrations.synthetic_hospital.reporting import first_versions, usual_bun

DRAWS_A_DAY, DRAWS_A_DAY_SICK, MOST_DRAWS = 0.9, 1.6, 40
VITALS_A_DAY, VITALS_A_DAY_SICK, MOST_VITALS = 1.2, 2.0, 60
VITALS_TAKEN = {"heart_rate": 0.97, "systolic": 0.97}
RESULT_MINUTES, RESULT_SPREAD = 55, 0.45  # from collection to issue, log-normal


@dataclass(frozen=True, kw_only=True)
class Moments:
    """When something was measured: row of the stay, instant, and share of the stay that had passed."""

    stay: Integers
    at: Floats
    share: Floats
    is_first: Flags
    is_last: Flags


def measure(rng: np.random.Generator, patients: Patients, stays: Stays) -> Results:
    """All results of these stays in their first version, numbered from 0."""
    is_sick = stays.severity > 0.9
    draws = _moments(rng, stays, np.where(is_sick, DRAWS_A_DAY_SICK, DRAWS_A_DAY), MOST_DRAWS)
    checks = _moments(rng, stays, np.where(is_sick, VITALS_A_DAY_SICK, VITALS_A_DAY), MOST_VITALS)
    laboratory = _laboratory(rng, patients, stays, draws)
    drawn = {key: _is_drawn(rng, key, stays, draws) for key in laboratory}
    vitals = _vital_signs(rng, patients, stays, checks)
    taken = {key: rng.random(len(checks.at)) < VITALS_TAKEN.get(key, 0.5) for key in vitals}
    parts = [_results(stays, draws, key, laboratory[key], drawn[key]) for key in laboratory]
    parts += [_results(stays, checks, key, vitals[key], taken[key]) for key in vitals]
    results = Results.join(parts)
    is_laboratory = results.item < len(LABORATORY)
    bench_minutes = RESULT_MINUTES * np.exp(
        rng.normal(0, RESULT_SPREAD, (max(len(draws.at), len(checks.at)), len(PANELS)))
    )
    minutes = np.where(is_laboratory, bench_minutes[results.draw, PANEL_OF_ITEM[results.item]], 1)
    return results.put(
        EVERYTHING,
        number=np.arange(len(results)),
        issued=results.collected + minutes / 1440,
        draw=results.draw + np.where(is_laboratory, 0, len(draws.at)),
    )


def _moments(rng: np.random.Generator, stays: Stays, a_day: Floats, most: int) -> Moments:
    """Evenly through the stay with some jitter: the first two hours after admission, the last just before discharge."""
    days = stays.end - stays.start
    count = np.minimum(2 + np.floor(np.maximum(days - 0.8, 0) * a_day), most).astype(np.int64)
    stay = np.repeat(np.arange(len(stays)), count)
    place = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    share = place / (count[stay] - 1)
    jitter = rng.normal(0, 0.03, len(stay)).clip(-0.1, 0.1)
    first = rng.exponential(1 / 24, len(stay)).clip(0, 0.04) + 1.5 / 24
    at = stays.start[stay] + np.where(place == 0, first, share * days[stay] + jitter)
    is_last, last = share == 1, stays.last_drawn_at[stay]
    at = np.where(is_last, last, np.minimum(at, last - 0.03))
    return Moments(stay=stay, at=at, share=share, is_first=place == 0, is_last=is_last)


def _laboratory(rng: np.random.Generator, patients: Patients, stays: Stays, draws: Moments) -> dict[str, Floats]:
    """The value of every test at every draw, whether it was ordered or not."""
    row, person = draws.stay, stays.patient[draws.stay]
    severity, unwell, hypoperfusion = stays.severity[row], _unwell(stays, draws), shock(stays, row, draws.at)
    noise = partial(_noise, rng, len(row))

    def ends_at(course: Floats, last: Floats) -> Floats:
        return np.where(draws.is_last, last[row], course)

    well = patients.creatinine[person]
    creatinine = well * np.exp(creatinine_log_rise(stays, row, draws.at) + noise(0.03))
    bun = usual_bun(well) * np.exp(stays.bun_level[row] + urea_log_rise(stays, row, draws.at) + noise(0.05))
    has_diabetes, has_heart_failure, has_kidney_disease = (
        patients.conditions[person, CONDITION[key]] for key in ("diabetes", "heart_failure", "kidney_disease")
    )
    injured = np.log(creatinine / well).clip(0, 1.5)
    infarction = (stays.service[row] == CARDIOLOGY) & (draws.share < 0.5)
    return {
        "creatinine": ends_at(creatinine, stays.last_creatinine),
        "bun": ends_at(bun, stays.last_bun),
        "sodium": ends_at(stays.last_sodium[row] - 1.0 * unwell + noise(1.2), stays.last_sodium),
        "hemoglobin": ends_at(stays.last_hemoglobin[row] + 0.9 * (1 - draws.share) + noise(0.3), stays.last_hemoglobin),
        "potassium": 4.1 + 0.18 * has_kidney_disease + 0.6 * injured + 0.08 * unwell * severity + noise(0.32),
        "glucose": np.exp(4.68 + 0.38 * has_diabetes + 0.06 * unwell + noise(0.18)),
        "leukocytes": np.exp(2.0 + 0.14 * severity + 0.18 * unwell + noise(0.25)),
        "albumin": 3.8 - 0.28 * severity - 0.1 * unwell + noise(0.25),
        "lactate": np.exp(0.25 + 0.15 * severity + 0.45 * unwell + 0.3 * hypoperfusion + noise(0.3)),
        "troponin": np.exp(-4.2 + 0.5 * has_heart_failure + 0.4 * unwell + 1.6 * infarction + noise(0.7)),
    }


def _is_drawn(rng: np.random.Generator, key: str, stays: Stays, draws: Moments) -> Flags:
    """Which tests were ordered at which draw."""
    dice = rng.random(len(draws.at))
    edge = draws.is_first | draws.is_last
    if key == "albumin":
        return draws.is_first | (dice < 0.05)
    if key == "lactate":
        return (stays.severity[draws.stay] + _unwell(stays, draws) > 1.3) & (dice < 0.6)
    if key == "troponin":
        in_heart = (stays.service[draws.stay] == CARDIOLOGY) & (draws.share < 0.5)
        return np.asarray(in_heart | draws.is_first & (dice < 0.15))
    share = {"creatinine": 0.99, "bun": 0.99, "sodium": 0.8, "potassium": 0.75}.get(key, 0.45)
    return edge | (dice < share)


def _vital_signs(rng: np.random.Generator, patients: Patients, stays: Stays, checks: Moments) -> dict[str, Floats]:
    row, person = checks.stay, stays.patient[checks.stay]
    severity, unwell = stays.severity[row], _unwell(stays, checks)
    hypoperfusion = shock(stays, row, checks.at)
    noise = partial(_noise, rng, len(row))
    has_lung_disease = patients.conditions[person, CONDITION["lung_disease"]]
    has_hypertension = patients.conditions[person, CONDITION["hypertension"]]

    return {
        "heart_rate": 82 + 5 * severity + 8 * unwell + 7 * hypoperfusion + noise(9),
        "systolic": 128 - 4 * severity - 7 * unwell + 6 * has_hypertension - 14 * hypoperfusion + noise(12),
        "breathing": 17 + 1.1 * severity + 2.2 * unwell + noise(2),
        "oxygen": 97 - 1.2 * has_lung_disease - 0.8 * unwell - 0.4 * severity + noise(1.3),
        "temperature": 36.8 + 0.12 * unwell * severity + noise(0.35),
    }


def _noise(rng: np.random.Generator, count: int, spread: float) -> Floats:
    return rng.normal(0, spread, count)


def _unwell(stays: Stays, moments: Moments) -> Floats:
    """The acute illness: it resolves through the stay, or climbs before death."""
    dies = stays.disposition[moments.stay] == DIED
    return np.where(dies, 2.5 * moments.share**2, 0.8 * (1 - moments.share))


def _results(stays: Stays, moments: Moments, key: str, value: Floats, is_taken: Flags) -> Results:
    rows = np.flatnonzero(is_taken)
    return first_versions(stays, moments.stay[rows], rows, moments.at[rows], key, value[rows])
