"""Who a message is about (PID-3): the one identifier of the authority that the contract names, and the others sent.

A number means a patient only together with who assigned it (CX.4, else CX.6): another hospital counts from 1 too.
PID-2 and PID-4, which HL7 has withdrawn, are not read.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from integrations.contract_parts import PatientsOf
from integrations.hl7v2.header import Header

OID = re.compile(r"\d+(\.\d+)+", re.ASCII)
OF_A_VISIT = {"AN", "VN"}  # HL7 table 0203: account and visit number name a stay, not a person
RECORD_NUMBER = "MR"


class Identifier(NamedTuple):
    """One repetition of PID-3: kind (HL7 table 0203; empty when not sent), value, and who assigned it."""

    kind: str
    value: str
    system: str | None


@dataclass(frozen=True, kw_only=True)
class Patient:
    """The patient as the contract lets the sender name them, and (system, value) of what else names that person.

    `problem` says why nobody can tell who it is: `foreign_patient` or `two_patients`.
    """

    patient_id: str | None = None
    identifiers: tuple[tuple[str | None, str], ...] = ()
    problem: str | None = None


def read_patient(field: str, header: Header, patients_of: PatientsOf) -> Patient:
    """Read PID-3. Of the identifiers of the named authority a medical record number (MR) goes before others."""
    sent = _identifiers(field, header, patients_of)
    if not sent:
        return Patient()
    ours = [each for each in sent if each.system == patients_of.system and each.kind not in OF_A_VISIT]
    values = {each.value for each in ours if each.kind == RECORD_NUMBER} or {each.value for each in ours}
    if len(values) != 1:
        return Patient(problem="two_patients" if values else "foreign_patient")
    [patient_id] = values
    others = [each for each in sent if each.system != patients_of.system and each.kind not in OF_A_VISIT]
    linked = [(patients_of.system, patient_id), *((each.system, each.value) for each in others)]
    return Patient(patient_id=patient_id, identifiers=tuple(linked))


def _identifiers(field: str, header: Header, patients_of: PatientsOf) -> list[Identifier]:
    found = []
    for repetition in header.repeated(field):
        value, _, _, authority, kind, facility = header.components(repetition, 6)
        if (text := header.plain(value)) is not None:
            assigner = authority if header.plain(authority) else facility
            found.append(Identifier(header.plain(kind) or "", text, read_system(assigner, header, patients_of)))
    return found


def read_system(assigner: str, header: Header, patients_of: PatientsOf) -> str | None:
    """Read who assigned an identifier: `DEMO&2.16.840.1.113883.19.5&ISO` is an OID.

    `DEMO` alone is only a name, and stands for the system of patients_of where the contract says so.
    """
    parts = assigner.split(header.subcomponent, 2) if header.subcomponent else [assigner]
    name, universal, kind = (header.plain(part) for part in (*parts, "", "")[:3])
    if universal is None:
        return patients_of.system if (name or "") in patients_of.assigning_authorities else name
    if kind in ("UUID", "GUID"):
        return f"urn:uuid:{universal}"
    return f"urn:oid:{universal}" if kind in (None, "ISO") and OID.fullmatch(universal) else universal
