"""Run the patient stories of a use case over its own SQL, and say where what comes out differs from the story."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa

from features.definitions import view
from features.parquet_files import view_rows
from models.cases import Case, Cases, encounter_key, instant, open_stories
from models.cohort import cohort, eligible, labels
from models.use_case import UseCase

Value = TypeVar("Value")
Rows = dict[tuple[str, datetime], dict[str, object]]
ROUND = timedelta(hours=6)


def differences(
    connection: duckdb.DuckDBPyConnection, use_case: UseCase, cases: Cases, folder: Path
) -> dict[str, list[str]]:
    """Return for each story what differs from its expectation; an empty list where all is as told."""
    open_stories(connection, cases, folder)
    found: dict[str, list[str]] = {}
    runs: dict[datetime, tuple[Rows, Rows, Rows]] = {}
    for number, case in enumerate(cases.cases):
        as_of = instant(case.as_of or cases.as_of)
        if as_of not in runs:
            runs[as_of] = _run(connection, use_case, as_of)
        found[case.story] = list(_compare(number, case, *runs[as_of]))
    return found


def _run(connection: duckdb.DuckDBPyConnection, use_case: UseCase, as_of: datetime) -> tuple[Rows, Rows, Rows]:
    rows = cohort(connection, use_case, as_of)
    spine = eligible(rows)
    features: Rows = {}
    for name in dict.fromkeys(reference.split(":")[0] for reference in use_case.features):
        for key, values in keyed(view_rows(connection, view(name), spine)).items():
            features.setdefault(key, {}).update(values)
    return keyed(rows), features, keyed(labels(connection, use_case, rows, as_of))


def keyed(table: pa.Table) -> Rows:
    """Return the rows of a frame by stay and time."""
    return {(row["encounter_id"], row["prediction_time"]): row for row in table.to_pylist()}


def _compare(number: int, case: Case, rows: Rows, features: Rows, found_labels: Rows) -> Iterator[str]:
    prefix = encounter_key(number, "")
    states = {key: row["excluded_reason"] or "eligible" for key, row in rows.items() if key[0].startswith(prefix)}
    expected = {key: str(state) for key, state in expanded(number, case.expect.cohort)}
    for key in sorted(states.keys() | expected.keys()):
        if states.get(key) != expected.get(key):
            yield f"cohort {_named(key)}: expected {expected.get(key, 'no row')}, found {states.get(key, 'no row')}"
    for key, values in expanded(number, case.expect.features):
        for name, value in values.items():
            actual = features.get(key, {}).get(name, "no such feature")
            if not is_same(value, actual):
                yield f"feature {name} {_named(key)}: expected {value}, found {actual}"
    for key, text in expanded(number, case.expect.label):
        actual_text = _label_text(found_labels.get(key), with_event=" at " in text)
        if text != actual_text:
            yield f"label {_named(key)}: expected {text}, found {actual_text}"


def expanded(number: int, by_stay: dict[str, dict[str, Value]]) -> Iterator[tuple[tuple[str, datetime], Value]]:
    """Give each stay and time; `a .. b` stands for every six hours from a to b."""
    for name, by_time in by_stay.items():
        for text, value in by_time.items():
            first, _, last = text.partition(" .. ")
            at = instant(first)
            while at <= instant(last or first):
                yield (encounter_key(number, name), at), value
                at += ROUND


def is_same(expected: float | None, actual: object) -> bool:
    """Whether a feature is what a story says, to five places; null is only null."""
    if expected is None or not isinstance(actual, float):
        return expected is None and actual is None
    return abs(expected - actual) < 1e-5


def _label_text(row: dict[str, object] | None, *, with_event: bool) -> str:
    if row is None:
        return "no row"
    label = "-" if row["label"] is None else str(row["label"])
    event_at = row["event_at"]
    event = f" at {event_at:%Y-%m-%d %H:%M}" if with_event and isinstance(event_at, datetime) else ""
    return f"{label} {row['label_reason']}{event}"


def _named(key: tuple[str, datetime]) -> str:
    return f"{key[0].split('.', 1)[1]} at {key[1]:%Y-%m-%d %H:%M}"
