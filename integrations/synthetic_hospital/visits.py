"""Visits that are no inpatient stay: emergency department, observation and clinic. None of them is a readmission."""

import numpy as np

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import (
    CLINIC,
    EMERGENCY_ROOM,
    EMERGENT,
    FROM_EMERGENCY,
    FROM_OUTPATIENT,
    MEDICINE,
    OBSERVATION_UNIT,
    ROUTINE,
    TO_HOME,
)
from integrations.synthetic_hospital.frames import (
    AMBULATORY,
    EMERGENCY,
    OBSERVATION,
    Contacts,
    Integers,
    Patients,
    Stays,
)
from integrations.synthetic_hospital.wards import one_ward

A_YEAR = {EMERGENCY: 0.28, OBSERVATION: 0.06, AMBULATORY: 0.10}  # visits of a person of average frailty
HOURS = {EMERGENCY: (2, 9), OBSERVATION: (12, 40), AMBULATORY: (0.3, 1)}
PLACE = {EMERGENCY: EMERGENCY_ROOM, OBSERVATION: OBSERVATION_UNIT, AMBULATORY: CLINIC}


def draw_visits(rng: np.random.Generator, patients: Patients, since: float, until: float) -> Contacts:
    """Draw all visits that begin in a span of time, in order of time."""
    visits = Contacts.join([_draw_kind(rng, patients, since, until, kind) for kind in A_YEAR])
    return visits.take(np.argsort(visits.start, kind="stable"))


def _draw_kind(rng: np.random.Generator, patients: Patients, since: float, until: float, kind: int) -> Contacts:
    expected = A_YEAR[kind] * (until - since) / 365 * np.exp(0.55 * patients.frailty)
    patient = np.repeat(np.arange(len(patients)), rng.poisson(expected))
    count = len(patient)
    start = rng.uniform(since, until, count)
    wards, moved_at = one_ward(np.full(count, PLACE[kind]), start)
    return Contacts(
        number=np.zeros(count, dtype=np.int64),
        patient=patient,
        kind=np.full(count, kind),
        priority=np.full(count, ROUTINE if kind == AMBULATORY else EMERGENT),
        source=np.full(count, FROM_OUTPATIENT if kind == AMBULATORY else FROM_EMERGENCY),
        service=np.full(count, MEDICINE),
        disposition=np.full(count, TO_HOME),
        start=start,
        end=start + rng.uniform(*HOURS[kind], count) / 24,
        wards=wards,
        moved_at=moved_at,
        is_under_second_record=np.zeros(count, dtype=bool),
    )


def recent_emergency_visits(visits: Contacts, people: int, days: float) -> "EmergencyVisits":
    """Prepare to count each patient's emergency visits of the last `days` days."""
    emergency = visits.take(visits.kind == EMERGENCY)
    place = np.zeros(len(emergency), dtype=np.int64)
    order = np.argsort(emergency.patient, kind="stable")
    counts = np.bincount(emergency.patient, minlength=people)
    place[order] = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
    times = np.full((people, int(counts.max(initial=0))), np.nan)
    times[emergency.patient, place] = emergency.start
    return EmergencyVisits(times, days)


class EmergencyVisits:
    """Each patient's emergency visits, one row a patient."""

    def __init__(self, times: Floats, days: float) -> None:
        self._times, self._days = times, days

    def before(self, at: Floats) -> Integers:
        """How many each patient had in the days before `at`."""
        ago = at[:, None] - self._times
        return np.asarray(((ago > 0) & (ago <= self._days)).sum(axis=1))


def that_happened(visits: Contacts, stays: Stays, died_at: Floats) -> Contacts:
    """Leave out visits of the dead, and those that would lie within an inpatient stay or touch it."""
    is_alive = ~(visits.end > died_at[visits.patient] - 0.1)
    order = np.lexsort((stays.start, stays.patient))
    begins = stays.patient[order] * 1e5 + stays.start[order]
    ends = np.r_[-np.inf, stays.patient[order] * 1e5 + stays.end[order]]
    at, until = visits.patient * 1e5 + visits.start, visits.patient * 1e5 + visits.end
    earlier = np.searchsorted(begins, until + 0.1)
    return visits.take(is_alive & (ends[earlier] < at - 0.1))
