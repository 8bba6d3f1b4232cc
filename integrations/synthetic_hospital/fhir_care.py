"""Procedures, medication orders and imaging as the EHR exports them (FHIR R4), each once, when it was written down."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from integrations.synthetic_hospital.calendar import Floats, fhir_times
from integrations.synthetic_hospital.catalogue import CHOLECYSTECTOMY, HEMODIALYSIS, IMAGING, MEDICATIONS, SURGERY
from integrations.synthetic_hospital.fhir import Resource, coded, encounter_id, patient_id
from integrations.synthetic_hospital.frames import Contacts, Flags, Patients, Stays

NOTED_AFTER = 2 / 24
DIALYSIS_SIZE = 1.05  # log rise of creatinine from which an acute injury is dialysed


class Entry(NamedTuple):
    """One line of the chart: ids and times as the EHR writes them."""

    patient: str
    encounter: str
    at: str
    known: str


def entries(
    patients: Patients, contacts: Contacts, is_so: Flags, at: Floats, known: Floats, since: float, until: float
) -> Iterator[Entry]:
    """The encounters for which something is so and became known in (since, until]."""
    rows = np.flatnonzero(is_so & (known > since) & (known <= until))
    columns = zip(
        patients.number[contacts.patient[rows]].tolist(),
        contacts.is_under_second_record[rows].tolist(),
        contacts.number[rows].tolist(),
        fhir_times(at[rows]),
        fhir_times(known[rows]),
        strict=True,
    )
    for person, is_second, encounter, happened, noted in columns:
        yield Entry(patient_id(person, is_second), encounter_id(encounter), happened, noted)


def procedure_resources(patients: Patients, stays: Stays, since: float, until: float) -> Iterator[Resource]:
    """Dialysis of those who live on it and of the worst injuries, and two in three surgical stays."""
    is_injured = ~np.isnan(stays.injury_at)
    is_acute = is_injured & (stays.injury_size > DIALYSIS_SIZE) & (stays.injury_at + 2 < stays.end)
    is_chronic = patients.is_on_dialysis[stays.patient] & ~is_injured
    is_operated = (stays.service == SURGERY) & (stays.number % 3 > 0)
    for (code, display), done, at in (
        (HEMODIALYSIS, is_acute, np.nan_to_num(stays.injury_at) + 2),
        (HEMODIALYSIS, is_chronic, stays.start + 0.5),
        (CHOLECYSTECTOMY, is_operated, stays.start + 0.4),
    ):
        for entry in entries(patients, stays, done, at, at + NOTED_AFTER, since, until):
            yield _of("Procedure", f"pr{entry.encounter[1:]}-{code}", "completed", entry) | {
                "code": coded("http://www.cms.gov/Medicare/Coding/ICD10", code, display),
                "performedDateTime": entry.at,
            }


def medication_resources(patients: Patients, stays: Stays, since: float, until: float) -> Iterator[Resource]:
    """Heparin in every other stay, and what the service usually gives."""
    at = stays.start + NOTED_AFTER
    for place, (code, name, service) in enumerate(MEDICATIONS):
        is_ordered = stays.number % 2 == 0 if service is None else stays.service == service
        drug = coded("http://www.nlm.nih.gov/research/umls/rxnorm", code, name) | {"text": name}
        for entry in entries(patients, stays, is_ordered, at, at, since, until):
            yield _of("MedicationRequest", f"m{entry.encounter[1:]}-{place}", "active", entry) | {
                "intent": "order",
                "medicationCodeableConcept": drug,
                "authoredOn": entry.known,
            }


def imaging_resources(patients: Patients, stays: Stays, since: float, until: float) -> Iterator[Resource]:
    """A chest film in every fourth stay, a CT in every twelfth."""
    at = stays.start + 0.15
    for modality, site, display, every in IMAGING:
        for entry in entries(patients, stays, stays.number % every == 0, at, at + NOTED_AFTER, since, until):
            series = {
                "uid": f"1.2.826.0.1.3680043.10.1.{entry.encounter[1:]}.{every}",
                "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": modality},
                "bodySite": {"system": "http://snomed.info/sct", "code": site, "display": display},
            }
            yield _of("ImagingStudy", f"im{entry.encounter[1:]}-{every}", "available", entry) | {
                "started": entry.at,
                "numberOfSeries": 1,
                "series": [series],
            }


def _of(kind: str, identity: str, status: str, entry: Entry) -> Resource:
    return {
        "resourceType": kind,
        "id": identity,
        "meta": {"lastUpdated": entry.known},
        "status": status,
        "subject": {"reference": f"Patient/{entry.patient}"},
        "encounter": {"reference": f"Encounter/{entry.encounter}"},
    }
