"""One message as staged rows: who it is about, its results, its movement."""

import re

from integrations.hl7v2.feed import Feed
from integrations.hl7v2.header import Header, read_header
from integrations.hl7v2.movement import Event, Movement, read_movement
from integrations.hl7v2.patients import Patient, read_patient
from integrations.hl7v2.person import merged, read_person, unlinked
from integrations.hl7v2.result import Around, read_result
from integrations.hl7v2.rows import LinkRow, ObservationRow, Rows
from integrations.hl7v2.segments import TOO_LONG

UNREADABLE = "\ufffd"  # what a byte becomes that is none of the message's character set
SEGMENT_NAME = re.compile(rb"[A-Z][A-Z0-9]{2}(?![A-Za-z0-9])")
BY_SPECIMEN = ("OUL^R22", "OUL^R23")  # each specimen (SPM) begins with its orders; else the order comes first
# A segment of so many characters is looked at: one of more parts than that would take minutes, and is no segment.
LARGE, MOST_PARTS = 100_000, 20_000
OF_AN_ADMISSION = "result_of_an_admission"


def read_message(file: str, first: int, segments: list[bytes], feed: Feed, rows: Rows) -> list[Movement]:
    """Add the rows of one message whose first segment has the number `first`; return its movements."""
    header = read_header(segments[0], feed.encoding)
    if header.problem_detail:
        _refuse(file, first, segments, header.problem_detail, feed, rows)
    elif feed.is_result(header.message_type):
        _read_results(file, first, _texts(segments, header), header, feed, rows)
    elif feed.is_admission(header.message_type):
        return _read_admission(file, first, _texts(segments, header), header, feed, rows)
    else:
        leave_out(file, first, f"message {header.message_type}", feed, rows)
    return []


def leave_out(file: str, line: int, reason: str, feed: Feed, rows: Rows) -> None:
    """Count a whole message as out of scope."""
    rows.add(feed.first_table, file, line, is_empty=True, out_of_scope_reason=reason)


def conflict(file: str, first: int, segments: list[bytes], feed: Feed, rows: Rows) -> None:
    """Quarantine every record of a message whose control id another message had."""
    _refuse(file, first, segments, "MSH-10", feed, rows, problem="conflicting_message")


def _refuse(
    file: str,
    first: int,
    segments: list[bytes],
    detail: str,
    feed: Feed,
    rows: Rows,
    problem: str = "bad_segment",
) -> None:
    """Of a message that is not trusted nothing is: not its results, and not whom they are about."""
    has_header = segments[0].startswith(b"MSH")
    for line, segment in enumerate(segments, first):
        if segment.startswith(b"PID") and "patient_link" in feed.tables:
            rows.add("patient_link", file, line, problem=problem, problem_detail=detail)
        elif not has_header or segment.startswith((b"MSH", b"OBX")) or not SEGMENT_NAME.match(segment):
            rows.add(feed.first_table, file, line, problem=problem, problem_detail=detail)


def _texts(segments: list[bytes], header: Header) -> list[str]:
    """Decode a message; bytes that are none of its character set become U+FFFD."""
    whole = b"\r".join(segments)
    try:
        texts = whole.decode(header.charset).split("\r")
    except UnicodeDecodeError:
        texts = [segment.decode(header.charset, errors="replace") for segment in segments]
    if len(whole) > LARGE:
        texts = [TOO_LONG.decode() if _is_boundless(text, header) else text for text in texts]
    return texts


def _is_boundless(text: str, header: Header) -> bool:
    signs = (header.field, header.component, header.repetition, header.escape, header.subcomponent)
    return len(text) > LARGE and sum(text.count(sign) for sign in signs if sign) > MOST_PARTS


def _read_results(file: str, first: int, texts: list[str], header: Header, feed: Feed, rows: Rows) -> None:
    around = Around(issued_at=header.sent_at)
    for line, text in enumerate(texts, first):
        fields = text.split(header.field)
        name = fields[0]
        if name == "OBX":
            is_text = UNREADABLE not in text
            rows.observation.append(read_result(file, line, fields, header, around, is_text=is_text))
        elif name == "PID":
            around = _patient(file, line, fields, header, feed, rows)
        elif name == "PV1":
            around.encounter_id = _read(fields, 19, header, around, "PV1")
        elif name == "OBR":
            _order(fields, header, around)
        elif name == "SPM" and header.message_type.startswith("OUL"):
            _specimen(fields, header, around)
        elif len(name) != 3 or not SEGMENT_NAME.match(name.encode()):
            rows.observation.append(ObservationRow(file, line, "bad_segment", "segment"))
            around = Around(issued_at=header.sent_at)  # it may have been the next patient


def _patient(file: str, line: int, fields: list[str], header: Header, feed: Feed, rows: Rows) -> Around:
    """Begin another patient; stay and order of the one before are not theirs."""
    sent = fields[3] if len(fields) > 3 else ""
    if UNREADABLE in sent:
        rows.patient_link.append(LinkRow(file, line, "bad_segment", "PID-3", issued_at=header.sent_at))
        return Around(unreadable="PID-3", issued_at=header.sent_at)
    patient = read_patient(sent, header, feed.patients_of)
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
    around.collected_at = _read(fields, 7, header, around, "OBR") or around.specimen_at
    around.issued_at = _read(fields, 22, header, around, "OBR") or header.sent_at


def _specimen(fields: list[str], header: Header, around: Around) -> None:
    """Begin another specimen: when it was collected (SPM-17), where its order does not say."""
    around.specimen_at = _read(fields, 17, header, around, "SPM")
    if header.message_type in BY_SPECIMEN:
        around.order_number = around.collected_at = None
    around.collected_at = around.collected_at or around.specimen_at


def _read(fields: list[str], place: int, header: Header, around: Around, segment: str) -> str | None:
    """Read the first component of a field; bytes that are no text spoil what follows."""
    found = header.first(fields[place]) if len(fields) > place else None
    if found and UNREADABLE in found and around.unreadable is None:
        around.unreadable = segment
    return found


def _read_admission(file: str, first: int, texts: list[str], header: Header, feed: Feed, rows: Rows) -> list[Movement]:
    """Read who a message of an admission is about, and the stay it tells of; A37 and A40 tell of no stay."""
    event = Event(trigger=header.message_type[4:], happened_at=header.sent_at)
    movements = []
    for line, text in enumerate(texts, first):
        fields = text.split(header.field)
        name = fields[0]
        if UNREADABLE in text and name in ("EVN", "PID", "PV1", "MRG"):
            rows.add(feed.first_table, file, line, problem="bad_segment", problem_detail="encoding")
            event.problem = ("bad_segment", name)
        elif name == "EVN":
            event.happened_at = _event_time(fields, header) or event.happened_at
        elif name == "PID":
            _person(file, line, fields, header, feed, event, rows)
        elif name == "MRG" and event.trigger == "A40":
            rows.patient_link.append(merged(file, line, fields, header, feed.patients_of, event.patient_id))
        elif name == "PV1" and event.trigger not in ("A37", "A40"):
            movements.append(read_movement(file, line, fields, header, event, feed))
        elif name == "OBX" and "observation" in feed.tables:
            rows.add("observation", file, line, is_empty=True, out_of_scope_reason=OF_AN_ADMISSION)
        elif len(name) != 3 or not SEGMENT_NAME.match(name.encode()):
            rows.add(feed.first_table, file, line, problem="bad_segment", problem_detail="segment")
            event.problem = ("bad_segment", "segment")  # it may have been the patient
    return movements


def _event_time(fields: list[str], header: Header) -> str | None:
    fields = fields + [""] * (7 - len(fields))
    return header.first(fields[6]) or header.first(fields[2])


def _person(file: str, line: int, fields: list[str], header: Header, feed: Feed, event: Event, rows: Rows) -> None:
    before = event.patient_id
    patient = read_patient(fields[3] if len(fields) > 3 else "", header, feed.patients_of)
    rows.patient_link.extend(_links(file, line, patient, header.sent_at))
    event.patient_id, event.problem = patient.patient_id, None
    event.account = header.first(fields[18]) if len(fields) > 18 else None
    person: dict[str, object] = {"issued_at": header.sent_at, "patient_id": patient.patient_id}
    if patient.patient_id is None:
        event.problem = (patient.problem or "missing_field", "PID-3")
        person |= {"problem": event.problem[0], "problem_detail": "PID-3"}
    else:
        person |= read_person(fields, header, feed)
    rows.add("patient", file, line, **person)
    if event.trigger == "A37" and before and patient.patient_id:
        rows.patient_link.extend(unlinked(file, line, header, feed.patients_of, before, patient.patient_id))
