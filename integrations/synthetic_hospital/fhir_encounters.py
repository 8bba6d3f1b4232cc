"""Encounters as the EHR exports them (FHIR R4): those that began, moved or ended since the last extract, as of now."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from integrations.synthetic_hospital.calendar import fhir_times
from integrations.synthetic_hospital.catalogue import (
    CLASSES,
    DISPOSITIONS,
    PRIORITIES,
    SERVICES,
    SOURCES,
    TO_HOSPITAL,
    WARDS,
)
from integrations.synthetic_hospital.fhir import (
    HL7,
    LOCAL,
    NUBC,
    REGISTERED_AFTER,
    Resource,
    coded,
    encounter_id,
    last_known,
    patient_id,
)
from integrations.synthetic_hospital.frames import Contacts, Patients

MOVED_AFTER, DISCHARGED_AFTER = 4 / 1440, 10 / 1440  # days until it is written down


@dataclass(frozen=True, kw_only=True)
class State:
    """What the EHR knows of one encounter's times when the extract is taken; `end` is None while it goes on."""

    start: str
    end: str | None
    updated: str
    moves: list[tuple[int, str]]  # ward, moved in; none in the minutes after the registration


def encounter_resources(patients: Patients, contacts: Contacts, since: float, until: float) -> Iterator[Resource]:
    """Encounters of which something was written down in (since, until]: in progress or finished."""
    known = np.column_stack(
        [contacts.start + REGISTERED_AFTER, contacts.moved_at + MOVED_AFTER, contacts.end + DISCHARGED_AFTER]
    )
    updated = last_known(known, until)
    rows = np.flatnonzero(updated > since)
    here = contacts.take(rows)
    for row, state in enumerate(_states(here, fhir_times(updated[rows]), until)):
        yield _encounter(patients, here, row, state)


def _states(here: Contacts, updated: list[str], until: float) -> Iterator[State]:
    starts, ends = fhir_times(here.start), fhir_times(here.end)
    is_over = here.end + DISCHARGED_AFTER <= until
    has_moved = here.moved_at + MOVED_AFTER <= until
    moves = [fhir_times(np.nan_to_num(here.moved_at[:, place])) for place in range(3)]
    for row in range(len(here)):
        yield State(
            start=starts[row],
            end=ends[row] if is_over[row] else None,
            updated=updated[row],
            moves=[(int(here.wards[row, place]), moves[place][row]) for place in range(3) if has_moved[row, place]],
        )


def _encounter(patients: Patients, here: Contacts, row: int, state: State) -> Resource:
    class_code, class_display = CLASSES[here.kind[row]]
    service = SERVICES[here.service[row]]
    person = patient_id(int(patients.number[here.patient[row]]), bool(here.is_under_second_record[row]))
    admission = {"admitSource": coded(HL7 + "admit-source", SOURCES[here.source[row]])}
    discharge = {} if state.end is None else {"dischargeDisposition": _disposition(int(here.disposition[row]))}
    return {
        "resourceType": "Encounter",
        "id": encounter_id(int(here.number[row])),
        "meta": {"lastUpdated": state.updated},
        "status": "in-progress" if state.end is None else "finished",
        "class": {"system": HL7 + "v3-ActCode", "code": class_code, "display": class_display},
        "serviceType": coded(LOCAL + "service", service.code, service.display),
        "priority": coded(HL7 + "v3-ActPriority", *PRIORITIES[here.priority[row]]),
        "subject": {"reference": f"Patient/{person}"},
        "period": _period(state.start, state.end),
        "hospitalization": admission | discharge,
    } | ({"location": _locations(state)} if state.moves else {})


def _disposition(disposition: int) -> Resource:
    """HL7's list knows no acute hospital, so that one is sent by its billing code."""
    return coded(NUBC if disposition == TO_HOSPITAL else HL7 + "discharge-disposition", DISPOSITIONS[disposition])


def _locations(state: State) -> list[Resource]:
    begins = [begin for _, begin in state.moves]
    return [
        _location(WARDS[ward], begin, end)
        for (ward, begin), end in zip(state.moves, [*begins[1:], state.end], strict=True)
    ]


def _location(ward: str, start: str, end: str | None) -> Resource:
    reference = f"Location/{ward.lower().replace(' ', '-')}"
    status = "active" if end is None else "completed"
    return {"location": {"reference": reference, "display": ward}, "status": status, "period": _period(start, end)}


def _period(start: str, end: str | None) -> dict[str, str]:
    return {"start": start} | ({} if end is None else {"end": end})
