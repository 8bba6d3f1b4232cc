"""Diagnoses as the EHR exports them (FHIR R4 Condition, ICD-10-CM): problem list, reason for the stay, what was billed.

The problem list is known from the first contact on, the reason two hours after admission, billing codes only three days
after discharge: never at the discharge they belong to.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from integrations.synthetic_hospital.calendar import fhir_times
from integrations.synthetic_hospital.catalogue import (
    CHEST_PAIN,
    CONDITION,
    CONDITIONS,
    END_STAGE,
    KIDNEY_INJURY,
    ON_DIALYSIS,
    SERVICES,
    STAGE_FIVE,
)
from integrations.synthetic_hospital.fhir import HL7, LOCAL, Resource, coded, patient_id
from integrations.synthetic_hospital.fhir_care import NOTED_AFTER, Entry, entries
from integrations.synthetic_hospital.frames import AMBULATORY, INPATIENT, Contacts, Patients, Stays

ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
PROBLEM = coded(HL7 + "condition-category", "problem-list-item")
REASON = coded(HL7 + "condition-category", "encounter-diagnosis")
BILLING = coded(LOCAL + "condition-category", "billing")
CODED_AFTER = 3.0  # days after discharge

Diagnosis = tuple[str, str]


def chronic_diagnoses(patients: Patients) -> list[tuple[Diagnosis, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Each chronic diagnosis, who has it, and who has it on the problem list."""
    kidney = CONDITION["kidney_disease"]
    is_stage_five = patients.conditions[:, kidney] & (patients.creatinine >= 4.0) & ~patients.is_on_dialysis
    is_stage_three = ~is_stage_five & ~patients.is_on_dialysis
    rows = []
    for place, condition in enumerate(CONDITIONS):
        is_so = is_stage_three if place == kidney else np.ones(len(patients), dtype=bool)
        diagnosis = (condition.icd10, condition.display)
        rows.append((diagnosis, patients.conditions[:, place] & is_so, patients.problem_list[:, place] & is_so))
    listed = patients.problem_list[:, kidney]
    rows.append((STAGE_FIVE, is_stage_five, is_stage_five & listed))
    rows.append((END_STAGE, patients.is_on_dialysis, patients.is_on_dialysis & listed))
    rows.append((ON_DIALYSIS, patients.is_on_dialysis, patients.is_on_dialysis & listed))
    return rows


def condition_resources(
    patients: Patients, contacts: Contacts, stays: Stays, since: float, until: float
) -> Iterator[Resource]:
    """All diagnoses that were recorded in (since, until]."""
    yield from _problems(patients, since, until)
    for entry, kind, (diagnosis, category) in _of_encounters(patients, contacts, stays, since, until):
        yield _condition(f"c{entry.encounter[1:]}-{diagnosis[0]}-{kind}", entry, diagnosis, category)


def _problems(patients: Patients, since: float, until: float) -> Iterator[Resource]:
    known = patients.registered_at + NOTED_AFTER
    for diagnosis, _, is_listed in chronic_diagnoses(patients):
        rows = np.flatnonzero(is_listed & (known > since) & (known <= until))
        for number, noted in zip(patients.number[rows].tolist(), fhir_times(known[rows]), strict=True):
            entry = Entry(patient_id(number), "", noted, noted)
            yield _condition(f"c{entry.patient}-{diagnosis[0]}", entry, diagnosis, PROBLEM)


def _of_encounters(
    patients: Patients, contacts: Contacts, stays: Stays, since: float, until: float
) -> Iterator[tuple[Entry, str, tuple[Diagnosis, Resource]]]:
    admitted, billed = contacts.start + NOTED_AFTER, stays.end + CODED_AFTER
    is_visit = (contacts.kind != INPATIENT) & (contacts.kind != AMBULATORY)
    for entry in entries(patients, contacts, is_visit, admitted, admitted, since, until):
        yield entry, "r", (CHEST_PAIN, REASON)
    for place, service in enumerate(SERVICES):
        is_here = (contacts.kind == INPATIENT) & (contacts.service == place)
        for entry in entries(patients, contacts, is_here, admitted, admitted, since, until):
            yield entry, "r", (service.reason, REASON)
        for entry in entries(patients, stays, stays.service == place, billed, billed, since, until):
            yield entry, "b", (service.reason, BILLING)
    for diagnosis, has_it, _ in chronic_diagnoses(patients):
        for entry in entries(patients, stays, has_it[stays.patient], billed, billed, since, until):
            yield entry, "b", (diagnosis, BILLING)
    is_injured = ~np.isnan(stays.injury_at)
    for entry in entries(patients, stays, is_injured, billed, billed, since, until):
        yield entry, "b", (KIDNEY_INJURY, BILLING)


def _condition(identity: str, entry: Entry, diagnosis: Diagnosis, category: Resource) -> Resource:
    condition: Resource = {
        "resourceType": "Condition",
        "id": identity,
        "meta": {"lastUpdated": entry.known},
        "clinicalStatus": coded(HL7 + "condition-clinical", "active"),
        "verificationStatus": coded(HL7 + "condition-ver-status", "confirmed"),
        "category": [category],
        "code": coded(ICD10, *diagnosis),
        "subject": {"reference": f"Patient/{entry.patient}"},
        "recordedDate": entry.known,
    }
    if entry.encounter:
        condition["encounter"] = {"reference": f"Encounter/{entry.encounter}"}
    return condition
