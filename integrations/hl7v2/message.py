"""One message as staged rows: who it is about, and its results."""

import re

from integrations.contract import PatientsOf
from integrations.hl7v2.header import Header, read_header
from integrations.hl7v2.patients import Patient, read_patient
from integrations.hl7v2.result import Around, read_result
from integrations.hl7v2.rows import LinkRow, ObservationRow, Rows

UNREADABLE = "\ufffd"  # what a byte becomes that is none of the message's character set
RESULTS = ("ORU^R01", "ORU")
SEGMENT_NAME = re.compile(rb"[A-Z][A-Z0-9]{2}(?![A-Za-z0-9])")


def read_message(file: str, first: int, segments: list[bytes], patients_of: PatientsOf, rows: Rows) -> None:
    """Add the rows of one message whose first segment has the number `first`."""
    header = read_header(segments[0])
    if header.problem_detail:
        _refuse(file, first, segments, header.problem_detail, rows)
    elif header.message_type not in RESULTS:
        reason = f"message {header.message_type}"
        rows.observation.append(ObservationRow(file, first, is_empty=True, out_of_scope_reason=reason))
    else:
        _read_results(file, first, _texts(segments, header.charset), header, patients_of, rows)


def _refuse(file: str, first: int, segments: list[bytes], detail: str, rows: Rows) -> None:
    """Without a header nothing of a message can be trusted: not its results, and not whom they are about."""
    has_header = segments[0].startswith(b"MSH")
    for line, segment in enumerate(segments, first):
        if segment.startswith(b"PID"):
            rows.patient_link.append(LinkRow(file, line, "bad_segment", detail))
        elif not has_header or segment.startswith((b"MSH", b"OBX")) or not SEGMENT_NAME.match(segment):
            rows.observation.append(ObservationRow(file, line, "bad_segment", detail))


def _texts(segments: list[bytes], charset: str) -> list[str]:
    """Decode a message; bytes that are none of its character set become U+FFFD."""
    whole = b"\r".join(segments)
    try:
        return whole.decode(charset).split("\r")
    except UnicodeDecodeError:
        return [segment.decode(charset, errors="replace") for segment in segments]


def _read_results(file: str, first: int, texts: list[str], header: Header, patients_of: PatientsOf, rows: Rows) -> None:
    around = Around(issued_at=header.sent_at)
    for line, text in enumerate(texts, first):
        fields = text.split(header.field)
        name = fields[0]
        if name == "OBX":
            is_text = UNREADABLE not in text
            rows.observation.append(read_result(file, line, fields, header, around, is_text=is_text))
        elif name == "PID":
            around = _patient(file, line, fields, header, patients_of, rows)
        elif name == "PV1":
            around.encounter_id = _read(fields, 19, header, around, "PV1")
        elif name == "OBR":
            _order(fields, header, around)
        elif len(name) != 3 or not SEGMENT_NAME.match(name.encode()):
            rows.observation.append(ObservationRow(file, line, "bad_segment", "segment"))
            around = Around(issued_at=header.sent_at)  # it may have been the next patient


def _patient(file: str, line: int, fields: list[str], header: Header, patients_of: PatientsOf, rows: Rows) -> Around:
    """Begin another patient; stay and order of the one before are not theirs."""
    sent = fields[3] if len(fields) > 3 else ""
    if UNREADABLE in sent:
        rows.patient_link.append(LinkRow(file, line, "bad_segment", "PID-3", issued_at=header.sent_at))
        return Around(unreadable="PID-3", issued_at=header.sent_at)
    patient = read_patient(sent, header, patients_of)
    rows.patient_link.extend(_links(file, line, patient, header.sent_at))
    return Around(
        unreadable=None, patient_id=patient.patient_id, patient_problem=patient.problem, issued_at=header.sent_at
    )


def _links(file: str, line: int, patient: Patient, issued_at: str | None) -> list[LinkRow]:
    """One row per identifier; a PID without any still counts."""
    head = LinkRow(file, line, patient_id=patient.patient_id, issued_at=issued_at)
    if patient.problem:
        return [head._replace(problem=patient.problem, problem_detail="PID-3")]
    if not patient.identifiers:
        return [head._replace(is_empty=True, out_of_scope_reason="no_identifier")]
    return [
        head._replace(link_id=f"{patient.patient_id}|{system}|{value}", system=system, value=value)
        if system
        else head._replace(is_empty=True, out_of_scope_reason="identifier_without_namespace")
        for system, value in patient.identifiers
    ]


def _order(fields: list[str], header: Header, around: Around) -> None:
    """Begin another order: its number at the laboratory (OBR-3), else at who ordered (OBR-2)."""
    if around.unreadable == "OBR":
        around.unreadable = None
    filler, placer = (_read(fields, place, header, around, "OBR") for place in (3, 2))
    around.order_number = filler or placer
    around.collected_at = _read(fields, 7, header, around, "OBR")
    around.issued_at = _read(fields, 22, header, around, "OBR") or header.sent_at


def _read(fields: list[str], place: int, header: Header, around: Around, segment: str) -> str | None:
    """Read the first component of a field; bytes that are no text spoil what follows."""
    found = header.first(fields[place]) if len(fields) > place else None
    if found and UNREADABLE in found and around.unreadable is None:
        around.unreadable = segment
    return found
