"""From the movements of an extract, in the order in which they came, to rows of encounter and encounter_location.

A message tells of one event; a row tells how a stay stands after it. What a message does not say stays as it was, by
the messages before it and by what the lake knows. A stay in a ward ends where the next one begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from integrations.hl7v2.movement import Movement
from integrations.hl7v2.rows import STAY, Rows

MOVES = {"A01", "A02", "A04", "A06", "A07"}
BEGINS = {"A01", "A04"}
NOT_BEGUN = "not_admitted_yet"  # A05: a stay that is planned
NO_MOVE = "no_change_of_ward"


@dataclass(frozen=True, kw_only=True)
class Location:
    """One stay in one ward. Instants as texts."""

    location_id: str
    ward: str
    started_at: str | None
    ended_at: str | None = None


@dataclass
class Stay:
    """How a stay stands: the columns of encounter, and the wards in their order."""

    known: dict[str, str | None] = field(default_factory=dict)
    locations: list[Location] = field(default_factory=list)


def fold(movements: Iterable[Movement], stays: dict[str, Stay], rows: Rows) -> None:
    """Add one row of encounter per movement, and those of encounter_location that it changes.

    `stays`: by encounter_id as sent, how each stood before; it is brought up to date.
    """
    for each in movements:
        head = {
            "record_file": each.file,
            "record_line": each.line,
            "patient_id": each.patient_id,
            "issued_at": each.issued_at,
        }
        if each.problem:
            rows.encounter.append({**head, "problem": each.problem, "problem_detail": each.problem_detail})
            _no_location(head, NO_MOVE, rows)
        elif each.trigger == "A05":
            rows.encounter.append({**head, "is_empty": True, "out_of_scope_reason": NOT_BEGUN})
            _no_location(head, NOT_BEGUN, rows)
        else:
            stay = stays.setdefault(str(each.encounter_id), Stay())
            _know(each, stay)
            is_cancelled = each.trigger == "A11"
            own = {**head, "encounter_id": each.encounter_id, "is_retracted": is_cancelled}
            rows.encounter.append({**own, "effective_at": stay.known.get("started_at"), **stay.known})
            _place(each, stay, {**own, "is_retracted": False}, rows)


def _know(each: Movement, stay: Stay) -> None:
    """Bring what is known of the stay up to date."""
    if each.trigger == "A01" and stay.known.get("ended_at"):
        stay.known.update(ended_at=None, discharge_disposition=None)  # back under the same number
    stay.known.update(each.said)
    if each.trigger in BEGINS and not stay.known.get("started_at"):
        stay.known["started_at"] = each.happened_at
    if each.trigger == "A03" and not stay.known.get("ended_at"):
        stay.known["ended_at"] = each.happened_at
    if each.trigger == "A13":
        stay.known.update(ended_at=None, discharge_disposition=None)
    stay.known = {column: stay.known.get(column) for column in STAY}


def _place(each: Movement, stay: Stay, head: dict[str, object], rows: Rows) -> None:
    changed = _changed(each, stay)
    for location, is_retracted in changed:
        rows.encounter_location.append(
            {
                **head,
                "is_retracted": is_retracted,
                "effective_at": location.started_at,
                "location_id": location.location_id,
                "ward": location.ward,
                "started_at": location.started_at,
                "ended_at": location.ended_at,
            }
        )
    if not changed:
        _no_location(head, NO_MOVE, rows)


def _changed(each: Movement, stay: Stay) -> list[tuple[Location, bool]]:
    """The stays in wards that a movement changes, each with whether it is taken back."""
    last = stay.locations[-1] if stay.locations else None
    if each.trigger in MOVES and each.ward and (last is None or last.ended_at or last.ward != each.ward):
        begun = stay.known.get("started_at") if each.trigger in BEGINS else each.happened_at
        new = Location(location_id=f"{each.encounter_id}|{each.ward}|{begun}", ward=each.ward, started_at=begun)
        left = [] if last is None or last.ended_at else [replace(last, ended_at=begun)]
        stay.locations[len(stay.locations) - len(left) :] = [*left, new]
        return [*((location, False) for location in left), (new, False)]
    if last and each.trigger == "A03" and not last.ended_at:
        stay.locations[-1] = replace(last, ended_at=stay.known.get("ended_at"))
        return [(stay.locations[-1], False)]
    if last and each.trigger == "A13" and last.ended_at:
        stay.locations[-1] = replace(last, ended_at=None)
        return [(stay.locations[-1], False)]
    if last and each.trigger in ("A11", "A12"):
        stay.locations.pop()
        taken_back = [(last, True)]
        if each.trigger == "A12" and stay.locations:
            stay.locations[-1] = replace(stay.locations[-1], ended_at=None)
            taken_back.append((stay.locations[-1], False))
        return taken_back
    return []


def _no_location(head: dict[str, object], reason: str, rows: Rows) -> None:
    rows.encounter_location.append({**head, "is_retracted": False, "is_empty": True, "out_of_scope_reason": reason})
