"""Inpatient stays: the rounds in which they are drawn.

One round is one stay of every patient, until nobody is due before the horizon. Each round throws the same dice for
every patient, due or not, so that a scenario that changes one patient's fate leaves all others as they were.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from integrations.synthetic_hospital.admissions import (
    discharge_time,
    draw_days,
    draw_disposition,
    draw_priority,
    draw_service,
    draw_severity,
    draw_source,
)
from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import CONDITION, ELECTIVE
from integrations.synthetic_hospital.fates import Due, Fate, draw_fate, first_due
from integrations.synthetic_hospital.frames import EVERYTHING, INPATIENT, Contacts, Patients, Stays
from integrations.synthetic_hospital.kidneys import creatinine_log_rise, draw_injury, kidney_columns, urea_log_rise
from integrations.synthetic_hospital.reporting import reported, usual_bun
from integrations.synthetic_hospital.risk import AtDischarge, RiskChange, readmission_risk
from integrations.synthetic_hospital.visits import EmergencyVisits, recent_emergency_visits
from integrations.synthetic_hospital.wards import draw_wards

REMEMBERED = 16  # discharges of a patient that are looked back at


def draw_stays(
    rng: np.random.Generator, patients: Patients, visits: Contacts, horizon: float, change: RiskChange
) -> tuple[Stays, Floats]:
    """Draw all inpatient stays that begin before the horizon, in order of time, and when each patient died, if so."""
    count = len(patients)
    emergencies = recent_emergency_visits(visits, count, 180)
    due, died_at = first_due(rng, patients), np.full(count, np.nan)
    discharges = np.full((count, REMEMBERED), -np.inf)
    rounds: list[Stays] = []
    while (due.start < horizon).any():
        present = due.start < horizon
        stay, fate = _one_round(rng, patients, emergencies, due, discharges, change)
        rounds.append(stay.take(present))
        died_at = np.where(present, fate.died_at, died_at)
        discharges = np.where(present[:, None], np.column_stack([discharges[:, 1:], stay.end]), discharges)
        due = replace(fate.due, start=np.where(present, fate.due.start, np.inf))
    stays = Stays.join(rounds)
    return stays.take(np.argsort(stays.start, kind="stable")), died_at


def _one_round(
    rng: np.random.Generator,
    patients: Patients,
    emergencies: EmergencyVisits,
    due: Due,
    discharges: Floats,
    change: RiskChange,
) -> tuple[Stays, Fate]:
    stay = _draw_last_labs(rng, patients, _draw_course(rng, patients, due))
    seen = _seen_at_discharge(patients, stay, emergencies, discharges)
    risk = readmission_risk(seen, change)
    fate = draw_fate(rng, patients, due, stay, risk)
    stay = stay.put(
        EVERYTHING, readmission_risk=risk, is_readmitted=fate.is_readmitted, is_same_episode=fate.is_same_episode
    )
    return stay, fate


def _draw_course(rng: np.random.Generator, patients: Patients, due: Due) -> Stays:
    """One stay of everybody, but for the last laboratory values and what follows the discharge."""
    count = len(patients)
    start = np.where(np.isinf(due.start), 0, due.start)  # those who never come again throw their dice all the same
    age = patients.age + start / 365.25
    priority = draw_priority(rng, due.is_return, due.is_planned_return)
    is_planned = priority == ELECTIVE
    start = np.where(is_planned, np.floor(start) + rng.uniform(0.27, 0.42, count), start)
    severity = draw_severity(rng, patients.frailty, is_planned)
    injury = draw_injury(rng, patients, age, severity)
    service = draw_service(rng, patients.conditions, is_planned)
    end = discharge_time(rng, start, draw_days(rng, service, severity, injury.is_injured))
    wards, moved_at = draw_wards(rng, service, severity, start, end)
    return Stays(
        **_not_yet_known(count),
        patient=np.arange(count),
        kind=np.full(count, INPATIENT),
        priority=priority,
        source=draw_source(rng, priority, age),
        service=service,
        disposition=draw_disposition(rng, patients, age, severity, injury.is_injured),
        start=start,
        end=end,
        wards=wards,
        moved_at=moved_at,
        age=age,
        severity=severity,
        **kidney_columns(rng, injury, severity, is_planned, start, end),
        last_drawn_at=np.maximum(end - rng.uniform(0.12, 0.4, count), start + 0.15),
        is_return=due.is_return,
    )


def _not_yet_known(count: int) -> dict[str, npt.NDArray[Any]]:
    """The columns that are filled after the course of the stay is drawn."""
    numbers = ("last_creatinine", "last_bun", "last_sodium", "last_hemoglobin", "readmission_risk")
    flags = ("is_readmitted", "is_same_episode", "is_under_second_record")
    columns: dict[str, npt.NDArray[Any]] = {"number": np.zeros(count, dtype=np.int64)}
    columns |= {name: np.full(count, np.nan) for name in numbers}
    return columns | {name: np.zeros(count, dtype=bool) for name in flags}


def _draw_last_labs(rng: np.random.Generator, patients: Patients, stay: Stays) -> Stays:
    """The last values before discharge, on which the risk of coming back depends, as the laboratory reports them."""
    count, row = len(stay), np.arange(len(stay))
    has_heart_failure, has_kidney_disease, has_cancer = (
        patients.conditions[:, CONDITION[key]] for key in ("heart_failure", "kidney_disease", "cancer")
    )
    creatinine = patients.creatinine * np.exp(
        creatinine_log_rise(stay, row, stay.last_drawn_at) + rng.normal(0, 0.03, count)
    )
    bun = usual_bun(patients.creatinine) * np.exp(
        stay.bun_level + urea_log_rise(stay, row, stay.last_drawn_at) + rng.normal(0, 0.05, count)
    )
    sodium = 139 - 1.2 * stay.severity - 1.0 * has_heart_failure + rng.normal(0, 2.3, count)
    hemoglobin = (
        12.1
        + 0.7 * patients.is_male
        - 0.75 * stay.severity
        - 1.2 * has_kidney_disease
        - 1.1 * has_cancer
        + rng.normal(0, 1.2, count)
    )
    return stay.put(
        EVERYTHING,
        last_creatinine=reported("creatinine", creatinine),
        last_bun=reported("bun", bun),
        last_sodium=reported("sodium", sodium),
        last_hemoglobin=reported("hemoglobin", hemoglobin),
    )


def _seen_at_discharge(
    patients: Patients, stay: Stays, emergencies: EmergencyVisits, discharges: Floats
) -> AtDischarge:
    return AtDischarge(
        end=stay.end,
        age=stay.age,
        conditions=patients.conditions,
        is_unplanned=stay.priority != ELECTIVE,
        days=stay.end - stay.start,
        disposition=stay.disposition,
        earlier_stays=(discharges > (stay.start - 365)[:, None]).sum(axis=1),
        emergency_visits=emergencies.before(stay.start),
        creatinine=stay.last_creatinine,
        bun=stay.last_bun,
        sodium=stay.last_sodium,
        hemoglobin=stay.last_hemoglobin,
    )
