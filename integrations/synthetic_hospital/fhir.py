"""How the EHR names things in FHIR R4: ids, code systems, and what an extract holds of a thing that changes."""

import numpy as np

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import FAMILY_NAMES, GIVEN_NAMES

HL7 = "http://terminology.hl7.org/CodeSystem/"
MRN_SYSTEM = "urn:oid:2.16.840.1.113883.19.5"
LOCAL = "urn:demo-hospital:"
NUBC = "https://www.nubc.org/CodeSystem/PatDischargeStatus"
REGISTERED_AFTER = 2 / 1440

Resource = dict[str, object]


def patient_id(number: int, is_second_record: bool = False) -> str:
    """The EHR's id of a patient; b marks a second record of the same person."""
    return f"p{number:07d}{'b' if is_second_record else ''}"


def accession(draw: int, panel: str) -> str:
    """The laboratory's number of an order: one panel of one draw."""
    return f"A{draw}-{panel}"


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


def last_known(known: Floats, until: float) -> Floats:
    """The last of several instants that is not after `until`; -inf where there is none."""
    return np.asarray(np.where(known <= until, known, -np.inf).max(axis=1))
