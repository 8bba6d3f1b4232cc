"""Patients and encounters as the EHR exports them (FHIR R4).

An extract holds what changed since the last one, as it stands when the extract is taken.
"""

from collections.abc import Iterator

import numpy as np

from integrations.synthetic_hospital.calendar import Floats, fhir_dates, fhir_times
from integrations.synthetic_hospital.catalogue import (
    CLASSES,
    DISPOSITIONS,
    FAMILY_NAMES,
    GIVEN_NAMES,
    PRIORITIES,
    SERVICES,
    SOURCES,
    TO_HOSPITAL,
    WARDS,
)
from integrations.synthetic_hospital.frames import Contacts, Integers, Patients

HL7 = "http://terminology.hl7.org/CodeSystem/"
MRN_SYSTEM = "urn:oid:2.16.840.1.113883.19.5"
LOCAL = "urn:demo-hospital:"
NUBC = "https://www.nubc.org/CodeSystem/PatDischargeStatus"
REGISTERED_AFTER, MOVED_AFTER, DISCHARGED_AFTER, DEATH_KNOWN_AFTER = 2 / 1440, 4 / 1440, 10 / 1440, 0.5

Resource = dict[str, object]


def patient_id(number: int, is_second_record: bool = False) -> str:
    """The EHR's id of a patient; b marks a second record of the same person."""
    return f"p{number:07d}{'b' if is_second_record else ''}"


def mrn(number: int, is_second_record: bool = False) -> str:
    """The medical record number, by which the LIS knows the patient too."""
    return f"{'TMP' if is_second_record else 'MRN'}{number:07d}"


def name(number: int) -> tuple[str, str]:
    """Family and given name of a patient: made up, so that a leak of names can be found."""
    return FAMILY_NAMES[number % len(FAMILY_NAMES)], GIVEN_NAMES[number % len(GIVEN_NAMES)]


def encounter_id(number: int) -> str:
    """The EHR's id of an encounter, which the LIS sends too."""
    return f"e{number}"


def coded(system: str, code: str, display: str = "") -> Resource:
    """A CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code} | ({"display": display} if display else {})]}


def patient_resources(patients: Patients, contacts: Contacts, since: float, until: float) -> Iterator[Resource]:
    """Patients who were registered, died or were merged in (since, until]."""
    known_death = patients.died_at + DEATH_KNOWN_AFTER
    first_under_second = np.full(len(patients), np.nan)
    second = contacts.take(contacts.is_under_second_record)
    first_under_second[second.patient] = second.start
    for is_second, registered in ((False, patients.registered_at), (True, first_under_second)):
        known = np.column_stack([registered - REGISTERED_AFTER, known_death, patients.merged_at])
        known[np.isnan(registered)] = np.nan
        updated = _last_known(known, until)
        rows = np.flatnonzero((updated > since) & (registered <= until))
        is_dead, is_merged = known_death[rows] <= until, patients.merged_at[rows] <= until
        columns = zip(
            patients.number[rows].tolist(),
            patients.is_male[rows].tolist(),
            fhir_dates(patients.age[rows]),
            fhir_times(updated[rows]),
            fhir_times(np.where(is_dead, patients.died_at[rows], 0)),
            is_dead.tolist(),
            is_merged.tolist(),
            strict=True,
        )
        for number, is_male, born, at, died, dead, merged in columns:
            yield _patient(number, is_second, is_male, born, at, died if dead else None, merged)


def _patient(
    number: int, is_second: bool, is_male: bool, born: str, updated: str, died: str | None, is_merged: bool
) -> Resource:
    family, given = name(number)
    records = [mrn(number, is_second)] + ([mrn(number, not is_second)] if is_merged and not is_second else [])
    person: Resource = {
        "resourceType": "Patient",
        "id": patient_id(number, is_second),
        "meta": {"lastUpdated": updated},
        "identifier": [
            {"use": use, "type": coded(HL7 + "v2-0203", "MR"), "system": MRN_SYSTEM, "value": value}
            for use, value in zip(("usual", "old"), records, strict=False)
        ],
        "active": not (is_merged and is_second),
        "name": [{"family": family, "given": [given]}],
        "gender": "male" if is_male else "female",
        "birthDate": born,
    }
    if died is not None:
        person["deceasedDateTime"] = died
    if is_merged:
        other = {"reference": f"Patient/{patient_id(number, not is_second)}"}
        person["link"] = [{"other": other, "type": "replaced-by" if is_second else "replaces"}]
    return person


def encounter_resources(
    patient_numbers: Integers, contacts: Contacts, since: float, until: float
) -> Iterator[Resource]:
    """Encounters that began, moved or ended in (since, until], as they stand at `until`: in progress or finished."""
    known = np.column_stack(
        [contacts.start + REGISTERED_AFTER, contacts.moved_at + MOVED_AFTER, contacts.end + DISCHARGED_AFTER]
    )
    updated = _last_known(known, until)
    rows = np.flatnonzero((updated > since) & (known[:, 0] <= until))
    here = contacts.take(rows)
    is_over = here.end + DISCHARGED_AFTER <= until
    moves = [fhir_times(np.nan_to_num(here.moved_at[:, place])) for place in range(3)]
    has_moved = here.moved_at + MOVED_AFTER <= until
    ends, starts, updates = fhir_times(here.end), fhir_times(here.start), fhir_times(updated[rows])
    for row in range(len(here)):
        end = ends[row] if is_over[row] else None
        yield _encounter(
            here, row, int(patient_numbers[here.patient[row]]), starts[row], end, updates[row], moves, has_moved[row]
        )


def _encounter(
    here: Contacts,
    row: int,
    person: int,
    start: str,
    end: str | None,
    updated: str,
    moves: list[list[str]],
    has_moved: np.ndarray,
) -> Resource:
    class_code, class_display = CLASSES[here.kind[row]]
    priority, priority_display = PRIORITIES[here.priority[row]]
    service = SERVICES[here.service[row]]
    stay: Resource = {"admitSource": coded(HL7 + "admit-source", SOURCES[here.source[row]])}
    if end is not None:
        stay["dischargeDisposition"] = _disposition(int(here.disposition[row]))
    places = [place for place in range(3) if has_moved[place]]
    froms = [moves[place][row] for place in places]
    return {
        "resourceType": "Encounter",
        "id": encounter_id(int(here.number[row])),
        "meta": {"lastUpdated": updated},
        "status": "in-progress" if end is None else "finished",
        "class": {"system": HL7 + "v3-ActCode", "code": class_code, "display": class_display},
        "serviceType": coded(LOCAL + "service", service.code, service.display),
        "priority": coded(HL7 + "v3-ActPriority", priority, priority_display),
        "subject": {"reference": f"Patient/{patient_id(person, bool(here.is_under_second_record[row]))}"},
        "period": _period(start, end),
        "hospitalization": stay,
        "location": [
            _location(int(here.wards[row, place]), begin, until)
            for place, begin, until in zip(places, froms, [*froms[1:], end], strict=True)
        ],
    }


def _disposition(disposition: int) -> Resource:
    """HL7's list knows no acute hospital, so that one is sent by its billing code."""
    return coded(NUBC if disposition == TO_HOSPITAL else HL7 + "discharge-disposition", DISPOSITIONS[disposition])


def _location(ward: int, start: str, end: str | None) -> Resource:
    name = WARDS[ward]
    reference = f"Location/{name.lower().replace(' ', '-')}"
    status = "active" if end is None else "completed"
    return {"location": {"reference": reference, "display": name}, "status": status, "period": _period(start, end)}


def _period(start: str, end: str | None) -> dict[str, str]:
    return {"start": start} | ({} if end is None else {"end": end})


def _last_known(known: Floats, until: float) -> Floats:
    """The last of several instants that is not after `until`; -inf where there is none."""
    return np.asarray(np.where(known <= until, known, -np.inf).max(axis=1))
