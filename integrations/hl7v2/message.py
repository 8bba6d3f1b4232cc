"""One message as staged rows: its results (OBX) with the patient, the stay and the order around them."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from integrations.hl7v2.header import Header, read_header
from integrations.hl7v2.patients import Patient, read_patient
from integrations.hl7v2.values import Value, read_value

RESULTS = ("ORU^R01", "ORU")
SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}", re.ASCII)
UNREADABLE = "\ufffd"
# HL7 table 0085, by our words. U says that an earlier preliminary result is final; it mostly comes without a value.
STATUS = {
    "F": "final",
    "U": "final",
    "V": "final",
    "P": "preliminary",
    "R": "preliminary",
    "S": "preliminary",
    "A": "corrected",
    "B": "corrected",
    "C": "corrected",
    "D": "entered_in_error",
    "W": "entered_in_error",
}
Problem = tuple[str, str] | tuple[None, None]  # reason and field
NO_RESULT = {"I": "pending", "X": "cancelled", "N": "not_asked", "O": "order_detail"}


class LinkRow(NamedTuple):
    """A row of staged_patient_link, in the order of its columns."""

    record_file: str
    record_line: int
    problem: str | None = None
    problem_detail: str | None = None
    is_empty: bool = False
    out_of_scope_reason: str | None = None
    patient_id: str | None = None
    effective_at: str | None = None
    issued_at: str | None = None
    is_retracted: bool = False
    link_id: str | None = None
    system: str | None = None
    value: str | None = None


class ObservationRow(NamedTuple):
    """A row of staged_observation, in the order of its columns."""

    record_file: str
    record_line: int
    problem: str | None = None
    problem_detail: str | None = None
    is_empty: bool = False
    out_of_scope_reason: str | None = None
    patient_id: str | None = None
    effective_at: str | None = None
    issued_at: str | None = None
    is_retracted: bool = False
    observation_id: str | None = None
    encounter_id: str | None = None
    category: str = "laboratory"
    local_system: str | None = None
    local_code: str | None = None
    value_number: float | None = None
    unit: str | None = None
    comparator: str | None = None
    value_text: str | None = None
    value_code: str | None = None
    status: str | None = None
    order_number: str | None = None


@dataclass(frozen=True)
class Rows:
    """The rows gathered so far."""

    observation: list[ObservationRow] = field(default_factory=list)
    patient_link: list[LinkRow] = field(default_factory=list)


@dataclass
class Around:
    """What stands before an OBX in its message. `unreadable` names the segment without which a result is nobody's."""

    unreadable: str | None = "PID"
    patient_id: str | None = None
    encounter_id: str | None = None
    order_number: str | None = None
    collected_at: str | None = None
    issued_at: str | None = None


def read_message(file: str, first: int, segments: list[bytes], rows: Rows) -> None:
    """Add the rows of one message whose first segment has the number `first`."""
    header = read_header(segments[0])
    if header.problem_detail:
        _refuse(file, first, segments, header.problem_detail, rows)
    elif header.message_type not in RESULTS:
        reason = f"message {header.message_type}"
        rows.observation.append(ObservationRow(file, first, is_empty=True, out_of_scope_reason=reason))
    else:
        _read_results(file, first, _texts(segments, header.charset), header, rows)


def _refuse(file: str, first: int, segments: list[bytes], detail: str, rows: Rows) -> None:
    """Without a header nothing of a message can be trusted: not its results, and not whom they are about."""
    for line, segment in enumerate(segments, first):
        if line == first or segment.startswith(b"OBX"):
            rows.observation.append(ObservationRow(file, line, "bad_segment", detail))
        elif segment.startswith(b"PID"):
            rows.patient_link.append(LinkRow(file, line, "bad_segment", detail))


def _texts(segments: list[bytes], charset: str) -> list[str]:
    """Decode a message; bytes that are none of its character set become U+FFFD."""
    whole = b"\r".join(segments)
    try:
        return whole.decode(charset).split("\r")
    except UnicodeDecodeError:
        return [segment.decode(charset, errors="replace") for segment in segments]


def _read_results(file: str, first: int, texts: list[str], header: Header, rows: Rows) -> None:
    around = Around(issued_at=header.sent_at)
    for line, text in enumerate(texts, first):
        fields = text.split(header.field)
        name = fields[0]
        if name == "OBX":
            rows.observation.append(_observation(file, line, fields, header, around))
        elif name == "PID":
            around = _patient(file, line, fields, header, rows)
        elif name == "PV1":
            around.encounter_id = _read(fields, 19, header, around, "PV1")
        elif name == "OBR":
            _order(fields, header, around)
        elif not SEGMENT_NAME.fullmatch(name):
            rows.observation.append(ObservationRow(file, line, "bad_segment", "segment"))
            around = Around(issued_at=header.sent_at)  # it may have been the next patient


def _patient(file: str, line: int, fields: list[str], header: Header, rows: Rows) -> Around:
    """Begin another patient; stay and order of the one before are not theirs."""
    sent = fields[3] if len(fields) > 3 else ""
    if UNREADABLE in sent:
        rows.patient_link.append(LinkRow(file, line, "bad_segment", "PID-3", issued_at=header.sent_at))
        return Around(unreadable="PID-3", issued_at=header.sent_at)
    patient = read_patient(sent, header)
    rows.patient_link.extend(_links(file, line, patient, header.sent_at))
    return Around(unreadable=None, patient_id=patient.patient_id, issued_at=header.sent_at)


def _links(file: str, line: int, patient: Patient, issued_at: str | None) -> list[LinkRow]:
    """One row per identifier; a PID without any still counts."""
    head = LinkRow(file, line, patient_id=patient.patient_id, issued_at=issued_at)
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


def _observation(file: str, line: int, fields: list[str], header: Header, around: Around) -> ObservationRow:
    """One OBX. A row with a problem still carries what could be read of it."""
    if len(fields) < 15:
        fields = fields + [""] * (15 - len(fields))
    code, system = _code(fields[3], header)
    sent_status = fields[11].strip()
    status = STATUS.get(sent_status)
    is_retracted = status == "entered_in_error"
    effective_at = header.first(fields[14]) or around.collected_at
    key = _key(around, code, effective_at, header.plain(fields[4]))
    value = _value(fields, header, sent_status)
    # A corrected result without a value takes its earlier value back: that may not pass as if nothing had been sent.
    out_of_scope = None if status in ("corrected", "entered_in_error") else value.out_of_scope_reason
    problem, detail = _problem(fields, around, sent_status)
    if problem:
        out_of_scope = None
    elif out_of_scope is None:
        problem, detail = _problem_of_result(key, code, value, is_retracted=is_retracted)
    return ObservationRow(
        file,
        line,
        problem,
        detail,
        out_of_scope is not None,
        out_of_scope,
        around.patient_id,
        effective_at,
        around.issued_at,
        is_retracted,
        None if out_of_scope else key,
        around.encounter_id,
        "laboratory",
        system,
        code,
        value.number,
        header.first(fields[6]),
        value.comparator,
        value.text,
        value.code,
        status,
        around.order_number,
    )


def _code(sent: str, header: Header) -> tuple[str | None, str | None]:
    """What was measured, with its code system as sent: the first triplet of OBX-3, the second where that is empty."""
    code, _, system, other, _, other_system = header.components(sent, 6)
    if (found := header.plain(code)) is not None:
        return found, header.plain(system)
    return header.plain(other), header.plain(other_system)


def _key(around: Around, code: str | None, effective_at: str | None, sub_id: str | None) -> str | None:
    """What makes a correction the same fact as before: order, code and sub-id (OBX-4).

    Without an order number, patient and time of collection stand for it. HL7 asks for a sub-id where one order has
    several results of one code.
    """
    if code is None:
        return None
    if around.order_number:
        of_what = f"{around.order_number}|{code}"
    elif around.patient_id and effective_at:
        of_what = f"{around.patient_id}|{code}|{effective_at}"
    else:
        return None
    return f"{of_what}|{sub_id}" if sub_id else of_what


def _value(fields: list[str], header: Header, status: str) -> Value:
    if status in NO_RESULT:
        return Value(out_of_scope_reason=NO_RESULT[status])
    return read_value(fields[2].strip(), fields[5], header)


def _problem(fields: list[str], around: Around, status: str) -> Problem:
    """What speaks against the segment, whether it holds a result or not."""
    if around.unreadable:
        return "bad_segment", around.unreadable
    if any(UNREADABLE in sent for sent in fields):
        return "bad_segment", "encoding"
    if status and status not in STATUS and status not in NO_RESULT:
        return "bad_value", "OBX-11"
    return None, None


def _problem_of_result(key: str | None, code: str | None, value: Value, *, is_retracted: bool) -> Problem:
    """What speaks against the result; one that is withdrawn needs no value."""
    if key is None:
        return "missing_id", "OBX-3" if code is None else "OBR-3"
    if value.bad_field and not is_retracted:
        return "bad_value", value.bad_field
    return None, None
