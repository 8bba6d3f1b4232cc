"""One result (OBX) as a staged row, with the patient, the stay and the order that stand before it in its message."""

from dataclasses import dataclass

from integrations.hl7v2.header import Header
from integrations.hl7v2.rows import ObservationRow
from integrations.hl7v2.values import Value, read_value

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


@dataclass
class Around:
    """What stands before an OBX in its message.

    `unreadable` names the segment without which a result is nobody's; `patient_problem` says why PID-3 names nobody.
    """

    unreadable: str | None = "PID"
    patient_id: str | None = None
    patient_problem: str | None = None
    encounter_id: str | None = None
    order_number: str | None = None
    specimen_at: str | None = None
    collected_at: str | None = None
    issued_at: str | None = None


def read_result(
    file: str, line: int, fields: list[str], header: Header, around: Around, *, is_text: bool
) -> ObservationRow:
    """One OBX; `is_text` is false when some of its bytes are none of the message's character set.

    A row with a problem still carries what could be read of it.
    """
    fields = fields + [""] * (15 - len(fields))
    code, system = _code(fields[3], header)
    sent_status = fields[11].strip()
    status = STATUS.get(sent_status)
    is_retracted = status == "entered_in_error"
    effective_at = header.first(fields[14]) or around.collected_at
    value = _value(fields, header, sent_status)
    key = _key(around, code, effective_at, header.plain(fields[4]))
    # A corrected result without a value takes its earlier value back: that may not pass as if nothing had been sent.
    reason = None if status in ("corrected", "entered_in_error") else value.out_of_scope_reason
    problem, detail = _problem(around, sent_status, is_text=is_text)
    if problem:
        reason = None
    elif reason is None:
        problem, detail = _problem_of_result(key, code, value, is_retracted=is_retracted)
    verdict = (problem, detail, reason is not None, reason)
    when = (effective_at, around.issued_at)
    what = (system, code, value.number, header.first(fields[6]), value.comparator, value.text, value.code)
    key = None if reason else key
    head = (file, line, *verdict, around.patient_id, *when, is_retracted, key, around.encounter_id)
    return ObservationRow(*head, "laboratory", *what, status, around.order_number)


def _code(sent: str, header: Header) -> tuple[str | None, str | None]:
    """What was measured, with its code system as sent: the first triplet of OBX-3, the second where that is empty."""
    code, _, system, other, _, other_system = header.components(sent, 6)
    if (found := header.plain(code)) is not None:
        return found, header.plain(system)
    return header.plain(other), header.plain(other_system)


def _key(around: Around, code: str | None, effective_at: str | None, sub_id: str | None) -> str | None:
    """What makes a correction the same fact as before: patient, order, code and sub-id (OBX-4).

    Order numbers come again in another year, and a result that was filed under the wrong patient is withdrawn there,
    perhaps after it came in under the right one. Without an order number the time of collection stands for it. HL7
    asks for a sub-id where one order has several results of one code.
    """
    if code is None:
        return None
    if around.order_number:
        whose = f"{around.patient_id}|" if around.patient_id else ""
        of_what = f"{whose}{around.order_number}|{code}"
    elif around.patient_id and effective_at:
        of_what = f"{around.patient_id}|{code}|{effective_at}"
    else:
        return None
    return f"{of_what}|{sub_id}" if sub_id else of_what


def _value(fields: list[str], header: Header, status: str) -> Value:
    if status in NO_RESULT:
        return Value(out_of_scope_reason=NO_RESULT[status])
    return read_value(fields[2].strip(), fields[5], header)


def _problem(around: Around, status: str, *, is_text: bool) -> Problem:
    """What speaks against the segment, whether it holds a result or not."""
    if around.unreadable:
        return "bad_segment", around.unreadable
    if around.patient_problem:
        return around.patient_problem, "PID-3"
    if not is_text:
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
