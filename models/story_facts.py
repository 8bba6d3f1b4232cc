"""The facts of a patient story as a table. Facts that differ in nothing but the patient stand on one row."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any

from integrations.codes import load_analytes
from integrations.comments import Place
from integrations.markdown import code, plain, table
from models.cases import DEFAULTS, Case, instant

HEAD = ("Patient", "Fact", "What it says", "True at", "Known at", "Note")
TIMES = ("effective_at", "started_at", "ended_at", "available_at", "discharge_known_at")
NAMES = ("id", "patient", "is_retracted")
NOTHING_ELSE = "nothing else"
Fact = Mapping[str, Any]


@dataclass(kw_only=True)
class Row:
    """One row of the table: what is said, and of whom."""

    patients: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


def facts_table(case: Case, place: Place, said: Mapping[Place, str]) -> str:
    """Return the facts of a story; `place` is where it stands in cases.yaml, `said` the comments of the file."""
    rows: dict[tuple[str, ...], Row] = {}
    for name, facts in case.facts.items():
        for position, fact in enumerate(facts):
            note = plain(said.get((*place, "facts", name, position), ""))
            key = (name, _what(name, fact), _true_at(fact), _known_at(fact), note)
            row = rows.setdefault(key, Row())
            row.patients.append(str(fact["patient" if name != "patient" else "id"]))
            row.ids.extend([str(fact["id"])] if "id" in fact and name != "patient" else [])
    return table(HEAD, [cells for key, row in rows.items() if (cells := _cells(*key, row=row))])


def _cells(name: str, what: str, true_at: str, known_at: str, note: str, *, row: Row) -> tuple[str, ...]:
    """Return the cells of a row; a patient of whom nothing is said needs none."""
    if name == "patient" and what == NOTHING_ELSE and not (known_at or note):
        return ()
    patients = ", ".join(dict.fromkeys(row.patients))
    ids = ", ".join(dict.fromkeys(row.ids))
    return patients, f"{name} {ids}".strip(), what, true_at, known_at, note


def _what(name: str, fact: Fact) -> str:
    """Return what a fact says, in words."""
    withdrawn = ["**withdrawn**"] if fact.get("is_retracted") else []
    values = {key: value for key, value in fact.items() if key not in (*TIMES, *NAMES)}
    said = "; ".join(WORDS.get(name, _columns)(values)) or NOTHING_ELSE
    return " ".join([*withdrawn, said])


def _columns(values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        shown = "not sent" if value is None else _time(value) if name.endswith("_at") else str(value)
        yield plain(f"{name.removesuffix('_at').replace('_', ' ')}: {shown}")


def _contact(values: dict[str, Any]) -> Iterator[str]:
    yield plain(values.pop("class", DEFAULTS["encounter"]["class"]))
    if disposition := values.pop("discharge_disposition", None):
        yield plain(f"discharged: {disposition}")
    yield from _columns(values)


def _result(values: dict[str, Any]) -> Iterator[str]:
    analyte = _analytes().get(str(values.pop("code")))
    value = values.pop("value_number", None)
    text = values.pop("value_text", None)
    measured = f"{value} {analyte.unit}" if analyte and text is None else text or value
    yield plain(f"{analyte.name if analyte else 'unknown code'}: {measured}")
    yield from _columns(values)


def _coded(values: dict[str, Any]) -> Iterator[str]:
    yield f"{code(values.pop('code'))} {plain(values.pop('code_system', DEFAULTS['condition']['code_system']))}"
    yield from _columns(values)


def _identifier(values: dict[str, Any]) -> Iterator[str]:
    yield plain(f"{values.pop('system')} {values.pop('value')}")
    yield from _columns(values)


WORDS: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "encounter": _contact,
    "observation": _result,
    "condition": _coded,
    "procedure": _coded,
    "patient_link": _identifier,
}


def _true_at(fact: Fact) -> str:
    if "started_at" not in fact:
        return (
            "" if "effective_at" not in fact else _time(fact["effective_at"]) if fact["effective_at"] else "not known"
        )
    end = f" to {_time(fact['ended_at'])}" if fact.get("ended_at") else " on"
    return _time(fact["started_at"]) + end


def _known_at(fact: Fact) -> str:
    if "available_at" in fact:
        return _time(fact["available_at"])
    return f"end: {_time(fact['discharge_known_at'])}" if "discharge_known_at" in fact else ""


def _time(value: object) -> str:
    """Return an instant or a day of a story as it is read: 2024-02-01 09:00."""
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return str(value) if is_day else f"{instant(value):%Y-%m-%d %H:%M}"


@cache
def _analytes() -> dict[str, Any]:
    return dict(load_analytes())
