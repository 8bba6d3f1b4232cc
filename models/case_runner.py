"""Run the patient stories of a use case over its own SQL, and say where what comes out differs from the story."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TypeVar

import duckdb
import pyarrow as pa

from features.definitions import view
from features.parquet_files import view_rows
from models.cases import Case, Cases, encounter_key, instant
from models.cohort import cohort, eligible, labels
from models.use_case import UseCase

Value = TypeVar("Value")
Rows = dict[tuple[str, datetime], dict[str, object]]
ROUND = timedelta(hours=6)


def differences(connection: duckdb.DuckDBPyConnection, use_case: UseCase, cases: Cases) -> dict[str, list[str]]:
    """Return for each story what differs from its expectation; an empty list where all is as told.

    The facts of the stories are open in the connection.
    """
    found: dict[str, list[str]] = {case.story: [] for case in cases.cases}
    for as_of, stories in by_as_of(cases).items():
        rows = cohort(connection, use_case, as_of)
        features = _features(connection, use_case, eligible(rows))
        known = keyed(labels(connection, use_case, rows, as_of))
        for number, case in stories:
            found[case.story] += cohort_differences(number, case, keyed(rows))
            found[case.story] += feature_differences(number, case, features)
            found[case.story] += label_differences(number, case, known)
    return found


def by_as_of(cases: Cases) -> dict[datetime, list[tuple[int, Case]]]:
    """Return the stories with their numbers, by the time as of which each is told."""
    found: dict[datetime, list[tuple[int, Case]]] = {}
    for number, case in enumerate(cases.cases):
        found.setdefault(instant(case.as_of or cases.as_of), []).append((number, case))
    return found


def cohort_differences(number: int, case: Case, rows: Rows) -> Iterator[str]:
    """Say where the cohort rows of a story's stays are other ones, or in another state; every row must be told."""
    prefix = encounter_key(number, "")
    states = {key: state_of(row) for key, row in rows.items() if key[0].startswith(prefix)}
    expected = dict(expanded(number, case.expect.cohort))
    for key in sorted(states.keys() | expected.keys()):
        if states.get(key) != expected.get(key):
            yield f"cohort {_named(key)}: expected {expected.get(key, 'no row')}, found {states.get(key, 'no row')}"


def state_of(row: dict[str, object]) -> object:
    """Say what a story says of a cohort row: why it is excluded, else why it has lapsed by now, else eligible."""
    return row["excluded_reason"] or row["lapsed_reason"] or "eligible"


def feature_differences(number: int, case: Case, features: Rows) -> Iterator[str]:
    """Say which of the features that a story names have another value."""
    for key, values in expanded(number, case.expect.features):
        for name, value in values.items():
            actual = features.get(key, {}).get(name, "no such feature")
            if not is_same(value, actual):
                yield f"feature {name} {_named(key)}: expected {value}, found {actual}"


def label_differences(number: int, case: Case, known: Rows) -> Iterator[str]:
    """Say which of the labels that a story names are other ones, or have another reason or event."""
    for key, text in expanded(number, case.expect.label):
        actual = _label_text(known.get(key), with_event=" at " in text)
        if text != actual:
            yield f"label {_named(key)}: expected {text}, found {actual}"


def _features(connection: duckdb.DuckDBPyConnection, use_case: UseCase, spine: pa.Table) -> Rows:
    features: Rows = {}
    for name in dict.fromkeys(reference.split(":")[0] for reference in use_case.features):
        for key, values in keyed(view_rows(connection, view(name), spine)).items():
            features.setdefault(key, {}).update(values)
    return features


def keyed(table: pa.Table) -> Rows:
    """Return the rows of a frame by stay and time."""
    return {(row["encounter_id"], row["prediction_time"]): row for row in table.to_pylist()}


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
