"""A synthetic hospital: seeded, with a known truth, made bucket by bucket so that its size costs no memory.

Its calendar is fixed: history from 2022-01-01 to the eve of go-live on 2024-07-01, then nights. The extract of a night
is taken at 23:45 hospital time, so that it has arrived before the prediction time of 00 h; the round of that night
scores at 00:15.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from integrations.errors import WrongUsage
from integrations.synthetic_hospital.calendar import Floats, days_since_epoch, extract_taken_at, round_begins_at
from integrations.synthetic_hospital.corrections import with_usual_corrections
from integrations.synthetic_hospital.frames import EVERYTHING, Contacts, Patients, Results, Stays
from integrations.synthetic_hospital.patients import draw_patients
from integrations.synthetic_hospital.physiology import measure
from integrations.synthetic_hospital.risk import RiskChange
from integrations.synthetic_hospital.samples_at_visits import sample_visits
from integrations.synthetic_hospital.scenarios import SCENARIOS, Scenario
from integrations.synthetic_hospital.stays import draw_stays
from integrations.synthetic_hospital.visits import draw_visits, that_happened

BUCKET = 1000  # patients at once
LOOK_AHEAD = 32  # days that the truth sees beyond the last night
IDS_PER_BUCKET = 1_000_000


@dataclass(frozen=True)
class Hospital:
    """What there is to choose about the hospital. The same choices give the same bytes."""

    patients: int = 8000
    nights: int = 14
    scenario: str = "creatinine_unit"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise WrongUsage(f"unknown scenario {self.scenario}", to_do=f"one of {', '.join(SCENARIOS)}")
        if self.patients < 1 or self.nights < 0:
            raise WrongUsage("a hospital has at least 1 patient and 0 nights")

    @property
    def history_end(self) -> datetime:
        """When the history extract is taken (UTC): the as_of of its ingest."""
        return extract_taken_at(0)

    @property
    def night_times(self) -> tuple[datetime, ...]:
        """When each night's extract is taken (UTC): the as_of of its ingest."""
        return tuple(extract_taken_at(night) for night in range(1, self.nights + 1))

    @property
    def round_times(self) -> tuple[datetime, ...]:
        """When each night's round scores (UTC), a quarter past the prediction time of 00 h."""
        return tuple(round_begins_at(night) for night in range(1, self.nights + 1))

    @property
    def cuts(self) -> Floats:
        """All extract times as the hospital counts them, history first."""
        return np.array([days_since_epoch(moment) for moment in (self.history_end, *self.night_times)])

    @property
    def bucket_count(self) -> int:
        return -(-self.patients // BUCKET)


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Everything about one bucket of patients."""

    number: int
    patients: Patients
    contacts: Contacts
    stays: Stays
    results: Results


def draw_bucket(hospital: Hospital, number: int) -> Bucket:
    """Draw one bucket of patients.

    History and nights, people and scenario throw dice of their own: the history is the same whatever comes after.
    """
    dice = [np.random.default_rng([hospital.seed, number, part]) for part in range(7)]
    scenario, cuts = SCENARIOS[hospital.scenario], hospital.cuts
    horizon = cuts[-1] + LOOK_AHEAD
    first = number * BUCKET
    patients = draw_patients(dice[0], first, min(BUCKET, hospital.patients - first))
    spans = ((dice[1], 0.0, cuts[0]), (dice[6], cuts[0], horizon))
    visits = Contacts.join([draw_visits(rng, patients, since, until) for rng, since, until in spans])
    stays, died_at = draw_stays(dice[2], patients, visits, horizon, _risk_change(scenario, cuts[0]))
    visits = that_happened(visits, stays, died_at)
    patients, stays = scenario.on_people(dice[5], patients, stays, cuts[0])
    stays, visits = _numbered(number, stays, visits)
    contacts = Contacts.join([stays.contacts(), visits])
    patients = patients.put(EVERYTHING, died_at=died_at, registered_at=_first_contact(patients, contacts))
    past = _measured(dice[3], patients, stays, visits, -np.inf, cuts[0])
    present = _measured(dice[4], patients, stays, visits, cuts[0], cuts[-1])
    results = Results.join([past, present.put(EVERYTHING, **_after(past, present))])
    shift = number * IDS_PER_BUCKET
    results = results.put(EVERYTHING, number=results.number + shift, draw=results.draw + shift)
    results = scenario.on_results(dice[5], results, cuts)
    return Bucket(number=number, patients=patients, contacts=contacts, stays=stays, results=results)


def _risk_change(scenario: Scenario, go_live: float) -> RiskChange:
    return RiskChange(since=go_live, has_new_therapy=scenario.has_new_therapy, added_log_odds=scenario.added_log_odds)


def _numbered(bucket: int, stays: Stays, visits: Contacts) -> tuple[Stays, Contacts]:
    """Number all encounters of the bucket in order of time."""
    order = np.argsort(np.r_[stays.start, visits.start], kind="stable")
    number = np.empty(len(order), dtype=np.int64)
    number[order] = bucket * IDS_PER_BUCKET + np.arange(len(order))
    return stays.put(EVERYTHING, number=number[: len(stays)]), visits.put(EVERYTHING, number=number[len(stays) :])


def _first_contact(patients: Patients, contacts: Contacts) -> Floats:
    """First contact under the person's own record; under a second one, the merge makes the first."""
    first = np.where(np.isnan(patients.merged_at), np.inf, patients.merged_at)
    own = contacts.take(~contacts.is_under_second_record)
    np.minimum.at(first, own.patient, own.start)
    return np.where(np.isinf(first), np.nan, first)


def _measured(
    rng: np.random.Generator, patients: Patients, stays: Stays, visits: Contacts, since: float, until: float
) -> Results:
    """The results of all encounters that begin in a span of time, with their usual corrections."""
    stays = stays.take((stays.start > since) & (stays.start <= until))
    visits = visits.take((visits.start > since) & (visits.start <= until))
    inpatient, at_visits = measure(rng, patients, stays), sample_visits(rng, patients, visits)
    results = Results.join([inpatient, at_visits.put(EVERYTHING, **_after(inpatient, at_visits))])
    return with_usual_corrections(rng, results)


def _after(earlier: Results, later: Results) -> dict[str, np.ndarray]:
    """Numbers of later results that go on where the earlier ones end."""
    return {
        "number": later.number + earlier.number.max(initial=-1) + 1,
        "draw": later.draw + earlier.draw.max(initial=-1) + 1,
    }
