"""Patients as the EHR exports them (FHIR R4): those whose record changed since the last extract, as it stands now."""

from collections.abc import Iterator

import numpy as np

from integrations.synthetic_hospital.calendar import fhir_dates, fhir_times
from integrations.synthetic_hospital.fhir import (
    HL7,
    MRN_SYSTEM,
    REGISTERED_AFTER,
    Resource,
    coded,
    last_known,
    mrn,
    name,
    patient_id,
)
from integrations.synthetic_hospital.frames import Contacts, Patients

DEATH_KNOWN_AFTER = 0.5


def patient_resources(patients: Patients, contacts: Contacts, since: float, until: float) -> Iterator[Resource]:
    """Patients who were registered, died or were merged in (since, until]."""
    known_death = patients.died_at + DEATH_KNOWN_AFTER
    first_under_second = np.full(len(patients), np.nan)
    second = contacts.take(contacts.is_under_second_record)
    first_under_second[second.patient] = second.start
    for is_second, registered in ((False, patients.registered_at), (True, first_under_second)):
        known = np.column_stack([registered - REGISTERED_AFTER, known_death, patients.merged_at])
        known[np.isnan(registered)] = np.nan
        updated = last_known(known, until)
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
