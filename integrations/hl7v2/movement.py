"""What one message says of a stay (EVN, PV1): who, which, when, where, and in which words."""

from dataclasses import dataclass, field

from integrations.hl7v2.feed import Feed
from integrations.hl7v2.header import Header
from integrations.hl7v2.times import is_time
from integrations.hl7v2.words import Words, meaning

NOTHING = '""'  # sent so, a field is taken back; not sent at all, it stays as it was
WORDS = {
    "class": 2,
    "admission_type": 4,
    "admission_source": 14,
    "discharge_disposition": 36,
}
STILL_A_PATIENT = "30"  # table 0112: no disposition yet
AS_SENT = {"service": 10, "started_at": 44, "ended_at": 45}


@dataclass(frozen=True, kw_only=True)
class Movement:
    """One message about one stay. said: the columns of encounter that were sent, null where taken back.

    ended_said_at: when a discharge was, if PV1-45 does not say. Instants are texts as sent.
    """

    file: str
    line: int
    trigger: str
    patient_id: str | None
    encounter_id: str | None
    happened_at: str | None
    issued_at: str | None
    ward: str | None = None
    said: dict[str, str | None] = field(default_factory=dict)
    problem: str | None = None
    problem_detail: str | None = None


@dataclass
class Event:
    """What stands before a visit in its message: when it happened (EVN-6, else EVN-2, else MSH-7), and to whom."""

    trigger: str
    happened_at: str | None
    patient_id: str | None = None
    account: str | None = None  # PID-18
    problem: tuple[str, str] | None = ("bad_segment", "PID")


def read_movement(file: str, line: int, fields: list[str], header: Header, event: Event, feed: Feed) -> Movement:
    """Read PV1. Its number is PV1-19, else the account of the patient (PID-18)."""
    fields = fields + [""] * (46 - len(fields))
    encounter_id = header.first(fields[19]) or event.account
    said, bad = _said(fields, header, feed.words)
    unread = _unread(said, event, feed)
    problem = event.problem
    if problem is None and encounter_id is None:
        problem = ("missing_id", "PV1-19")
    if problem is None and bad:
        problem = ("bad_value", bad)
    if problem is None and unread:
        problem = ("bad_time", unread)
    return Movement(
        file=file,
        line=line,
        trigger=event.trigger,
        patient_id=event.patient_id,
        encounter_id=encounter_id,
        happened_at=event.happened_at,
        issued_at=header.sent_at,
        ward=header.first(header.part(fields[3])),
        said=said,
        problem=problem[0] if problem else None,
        problem_detail=problem[1] if problem else None,
    )


def _unread(said: dict[str, str | None], event: Event, feed: Feed) -> str | None:
    """The first time that the tables could not take: what comes later must not go on with it."""
    for column, text in {**said, "EVN-2": event.happened_at}.items():
        if text and (column == "EVN-2" or column.endswith("_at")):
            may_be_a_day = ("encounter", column) in feed.days_are_times
            if not is_time(text, may_be_a_day=may_be_a_day):
                return column
    return None


def _said(fields: list[str], header: Header, words: Words) -> tuple[dict[str, str | None], str | None]:
    """The columns of encounter that a visit says, and the first field whose word nobody knows."""
    said: dict[str, str | None] = {}
    bad = None
    for column, place in {**WORDS, **AS_SENT}.items():
        text = header.first(fields[place])
        if text is None and NOTHING not in fields[place]:
            continue
        said[column] = text
        if column in WORDS and text is not None:
            said[column] = None if (place, text) == (36, STILL_A_PATIENT) else meaning(f"PV1-{place}", text, words)
            if said[column] is None and text != STILL_A_PATIENT:
                bad = bad or f"PV1-{place}"
    return said, bad
