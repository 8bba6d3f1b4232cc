"""Who a message is about (PID-3): the identifiers that it gives of the patient."""

import re
from dataclasses import dataclass

from integrations.hl7v2.header import Header

OID = re.compile(r"\d+(\.\d+)+", re.ASCII)
OF_A_VISIT = {"AN", "VN"}  # HL7 table 0203: account and visit number name a stay, not a person


@dataclass(frozen=True, kw_only=True)
class Patient:
    """The patient as the sender knows them, and (system, value) of each identifier that names a person."""

    patient_id: str | None
    identifiers: tuple[tuple[str | None, str], ...] = ()


def read_patient(field: str, header: Header) -> Patient:
    """Read PID-3. The medical record number (MR) is the id, else the first identifier that was sent."""
    found = list[tuple[str, str, str | None]]()
    for repetition in header.repeated(field):
        value, _, _, authority, kind = header.components(repetition, 5)
        if (text := header.plain(value)) is not None:
            found.append((header.plain(kind) or "", text, read_system(authority, header)))
    chosen = next((value for kind, value, _ in found if kind == "MR"), found[0][1] if found else None)
    return Patient(
        patient_id=chosen,
        identifiers=tuple((system, value) for kind, value, system in found if kind not in OF_A_VISIT),
    )


def read_system(authority: str, header: Header) -> str | None:
    """Read an assigning authority: `DEMO&2.16.840.1.113883.19.5&ISO` is an OID, `DEMO` alone only a name."""
    parts = authority.split(header.subcomponent, 2) if header.subcomponent else [authority]
    name, universal, kind = (header.plain(part) for part in (*parts, "", "")[:3])
    if universal is None:
        return name
    if kind in ("UUID", "GUID"):
        return f"urn:uuid:{universal}"
    return f"urn:oid:{universal}" if OID.fullmatch(universal) else universal
