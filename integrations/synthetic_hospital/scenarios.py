"""Scripted faults and changes, each from a stated night on; the history before go-live is the same in all of them.

| scenario               | from night | what happens                                                               |
|------------------------|------------|----------------------------------------------------------------------------|
| none                   |            | nothing out of the ordinary                                                |
| creatinine_unit        | 5 and 6    | the LIS sends creatinine in umol/L, labelled mg/dL                         |
| unit_change_declared   | 5          | creatinine comes in umol/L, and says so                                    |
| loinc_swap             | 5          | potassium, sodium, glucose and hemoglobin come under other codes           |
| outage                 | 5 to 7     | the basic panel and the blood count never arrive                           |
| late_results           | 1          | a third of the results takes 25 times as long, about a day                 |
| duplicates_corrections | 1          | 2 % sent twice, 2 % wrong by a decimal and amended, 2 % withdrawn          |
| merged_patients        | 1          | a quarter of unplanned stays under a second record, merged the next day    |
| concept                | 1          | a new therapy takes the risk of heart and kidney disease away              |
| prevalence             | 1          | everybody's log odds of readmission rise by 0.85                           |
| casemix                | 1          | three in four of those under 68 go to another hospital                     |
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import (
    CREATININE_IN_UMOL,
    ELECTIVE,
    ITEM,
    ITEMS,
    LABORATORY,
    UPGRADED_CODES,
)
from integrations.synthetic_hospital.corrections import correct
from integrations.synthetic_hospital.frames import (
    AMENDED,
    ENTERED_IN_ERROR,
    EVERYTHING,
    Flags,
    Patients,
    Results,
    Stays,
)

FAULTY_NIGHTS = (5, 6)
OUTAGE_NIGHTS = (5, 6, 7)

OnResults = Callable[[np.random.Generator, Results, Floats], Results]
OnPeople = Callable[[np.random.Generator, Patients, Stays, float], tuple[Patients, Stays]]


def results_as_they_are(_: np.random.Generator, results: Results, __: Floats) -> Results:
    """Nothing happens to results."""
    return results


def people_as_they_are(_: np.random.Generator, patients: Patients, stays: Stays, __: float) -> tuple[Patients, Stays]:
    """Nothing happens to people."""
    return patients, stays


def night_sent(results: Results, cuts: Floats) -> np.ndarray:
    """The night in whose extract a result is sent: 0 is history, len(cuts) is never."""
    return np.searchsorted(cuts, results.issued, side="left")


def _laboratory_from(results: Results, cuts: Floats, night: int) -> Flags:
    return (results.item < len(LABORATORY)) & (night_sent(results, cuts) >= night)


def creatinine_unit(_: np.random.Generator, results: Results, cuts: Floats) -> Results:
    """Two nights of creatinine 88 times too high."""
    faulty = (results.item == ITEM["creatinine"]) & np.isin(night_sent(results, cuts), FAULTY_NIGHTS)
    return results.put(faulty, value=np.round(results.value[faulty] * CREATININE_IN_UMOL))


def unit_change_declared(_: np.random.Generator, results: Results, cuts: Floats) -> Results:
    """The unit changes, truthfully."""
    changed = (results.item == ITEM["creatinine"]) & (night_sent(results, cuts) >= FAULTY_NIGHTS[0])
    return results.put(changed, value=np.round(results.value[changed] * CREATININE_IN_UMOL), unit=1)


def loinc_swap(_: np.random.Generator, results: Results, cuts: Floats) -> Results:
    """The codes change, and nobody said so."""
    swapped = np.isin(results.item, [ITEM[key] for key in UPGRADED_CODES])
    return results.put(swapped & (night_sent(results, cuts) >= FAULTY_NIGHTS[0]), code=1)


def outage(_: np.random.Generator, results: Results, cuts: Floats) -> Results:
    """The interface of two panels is down; its results are never sent again."""
    is_down = np.isin(results.item, [row for row, item in enumerate(ITEMS) if item.panel in ("BMP", "CBC")])
    return results.take(~(is_down & np.isin(night_sent(results, cuts), OUTAGE_NIGHTS)))


def late_results(rng: np.random.Generator, results: Results, cuts: Floats) -> Results:
    """Results trickle in a day late."""
    late = _laboratory_from(results, cuts, 1) & (rng.random(len(results)) < 0.35)
    delay = results.issued - results.collected
    return results.put(late, issued=(results.collected + 25 * delay)[late])


def duplicates_corrections(rng: np.random.Generator, results: Results, cuts: Floats) -> Results:
    """The same message twice, decimals slipped and amended, results withdrawn."""
    dice = np.where(_laboratory_from(results, cuts, 1) & (results.status == 0), rng.random(len(results)), 1)
    slipped = results.value * rng.choice([0.1, 10.0], len(results))
    twice, amended, withdrawn = (np.flatnonzero((dice >= low) & (dice < low + 0.02)) for low in (0, 0.02, 0.04))
    again = results.take(twice)
    again = again.put(EVERYTHING, issued=again.issued + 0.01)
    results = correct(results, amended, slipped[amended], AMENDED, 0.25)
    results = correct(results, withdrawn, results.value[withdrawn] * 1.5, ENTERED_IN_ERROR, 0.4)
    return Results.join([results, again])


def merged_patients(
    rng: np.random.Generator, patients: Patients, stays: Stays, go_live: float
) -> tuple[Patients, Stays]:
    """Who cannot give a name is registered anew; a day later the two records are found to be one person."""
    is_anew = (stays.start > go_live) & (stays.priority != ELECTIVE) & (rng.random(len(stays)) < 0.25)
    people, first = np.unique(stays.patient[is_anew], return_index=True)
    rows = np.flatnonzero(is_anew)[first]
    patients = patients.put(people, merged_at=stays.start[rows] + 1.0)
    return patients, stays.put(rows, is_under_second_record=True)


def casemix(rng: np.random.Generator, patients: Patients, stays: Stays, go_live: float) -> tuple[Patients, Stays]:
    """A new hospital takes the younger patients; who was discharged from here still returns here."""
    leaves = rng.random(len(patients)) < 0.75
    elsewhere = (stays.start > go_live) & (stays.age < 68) & leaves[stays.patient] & ~stays.is_return
    return patients, stays.take(~elsewhere)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What one scenario does to results, to people, and to the true risk from go-live on."""

    first_night: int = 1
    on_results: OnResults = results_as_they_are
    on_people: OnPeople = people_as_they_are
    has_new_therapy: bool = False
    added_log_odds: float = 0.0


SCENARIOS: dict[str, Scenario] = {
    "none": Scenario(),
    "creatinine_unit": Scenario(first_night=FAULTY_NIGHTS[0], on_results=creatinine_unit),
    "unit_change_declared": Scenario(first_night=FAULTY_NIGHTS[0], on_results=unit_change_declared),
    "loinc_swap": Scenario(first_night=FAULTY_NIGHTS[0], on_results=loinc_swap),
    "outage": Scenario(first_night=OUTAGE_NIGHTS[0], on_results=outage),
    "late_results": Scenario(on_results=late_results),
    "duplicates_corrections": Scenario(on_results=duplicates_corrections),
    "merged_patients": Scenario(on_people=merged_patients),
    "concept": Scenario(has_new_therapy=True),
    "prevalence": Scenario(added_log_odds=0.85),
    "casemix": Scenario(on_people=casemix),
}
