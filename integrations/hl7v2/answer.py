"""What a sender is answered: AA when a message is taken, AE when something in it is not, AR when nothing is.

An answer says which field is wrong, never what stands in it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from integrations.hl7v2.feed import Feed
from integrations.hl7v2.header import LAST_FIELD, Header, read_header
from integrations.hl7v2.message import read_message
from integrations.hl7v2.rows import SCHEMAS, Rows
from integrations.hl7v2.times import is_time

TIMES = ("effective_at", "issued_at")
REQUIRED = ("patient_id", "status")
TAKEN, ERROR, REJECTED = "AA", "AE", "AR"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The code of MSA-1 and, where it is not AA, why."""

    code: str
    reason: str = ""


def judge(segments: list[bytes], header: Header, feed: Feed) -> Answer:
    """What the door will make of a message: the first reason for which something of it would lie in quarantine."""
    if header.problem_detail:
        return Answer(code=REJECTED, reason=f"bad_segment {header.problem_detail}")
    rows = Rows()
    movements = read_message("", 1, segments, feed, rows)
    told = [_problem("encounter", asdict(each), feed) for each in movements]
    told += [_problem(table, _columns(row), feed) for table in SCHEMAS for row in getattr(rows, table)]
    problems = [problem for problem in told if problem]
    return Answer(code=ERROR, reason=problems[0]) if problems else Answer(code=TAKEN)


def _problem(table: str, row: Mapping[str, Any], feed: Feed) -> str | None:
    """Why a row would lie in quarantine, as far as one message can tell."""
    if row.get("problem"):
        return f"{row['problem']} {row['problem_detail']}"
    if row.get("is_empty"):
        return None
    for column in TIMES:
        text = row.get(column)
        if text and not is_time(text, may_be_a_day=(table, column) in feed.days_are_times):
            return f"bad_time {column}"
    missing = [column for column in REQUIRED if table == "observation" and not row[column]]
    return f"missing_field {missing[0]}" if missing else None


def _columns(row: Any) -> dict[str, Any]:
    return row if isinstance(row, dict) else dict(row._asdict())


def acknowledgement(segment: bytes, answer: Answer, at: datetime) -> bytes:
    """The ACK of a message whose first segment this is, in the sender's own signs and version."""
    header = read_header(segment)
    sent = segment.decode("latin-1").split(header.field, LAST_FIELD) + [""] * 12
    is_header = header.problem_detail not in ("MSH", "MSH-2")
    trigger = header.message_type.partition("^")[2] if is_header else ""
    signs = sent[1] if is_header else "^~\\&"
    kind = f"ACK{header.component}{trigger}" if trigger else "ACK"
    control = sent[9] if is_header else ""
    application, facility, own, own_facility = sent[2:6] if is_header else ("", "", "", "")
    head = ["MSH", signs, own, own_facility, application, facility, f"{at:%Y%m%d%H%M%S%z}", "", kind]
    head += [f"R{at:%Y%m%d%H%M%S%f}", sent[10] if is_header else "P", sent[11] if is_header else "2.5.1"]
    body = ["MSA", answer.code, control, *([answer.reason] if answer.reason else [])]
    lines = [header.field.join(head), header.field.join(body)]
    return ("\r".join(lines) + "\r").encode("latin-1", errors="replace")
