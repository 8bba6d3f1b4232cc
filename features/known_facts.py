"""What a feature view may read of one patient: each fact as known at prediction_time, and as it is known today.

The fact that another number is the same person is one of them. Today's state is cut to what was true at
prediction_time: what ended after it has not ended.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import duckdb
import pyarrow as pa

from features.definitions import View
from features.worlds import FACT, STATE, State
from integrations.tables import HEAD, TABLES, TAIL, Table

SAME_PERSON = "same_person"
OWN = 0  # the number of what is no fact: that a patient is the same person as themself
Numbers = tuple[int, ...]
Row = dict[str, Any]
LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)
# An end that had not come by then, and what is known of an end only.
ENDS: Mapping[str, Row] = {"ended_at": {"discharge_disposition": None}, "deceased_at": {"is_deceased": False}}
NOTHING_SHOWN: Row = dict.fromkeys(
    ("code", "effective_at", "available_at", "extract_id", "source_file", "source_line")
) | {"is_retracted": False}
PERSONS = pa.schema(
    [("patient_id", pa.string()), ("other_patient_id", pa.string()), (FACT, pa.int32()), (STATE, pa.string())]
)


@dataclass(frozen=True, kw_only=True)
class KnownFacts:
    """The facts as rows of the tables that the view names, with their number and state; and the same to be shown."""

    tables: Mapping[str, pa.Table]
    feed: pa.Table
    shown: Mapping[tuple[int, State], Row]

    def has(self, number: int, state: State) -> bool:
        """Whether the fact stands in this state."""
        return (number, state) in self.shown

    def row(self, number: int, state: State) -> Row:
        """Return what is shown of a fact in a state; where it does not stand in it any more, as it was."""
        return self.shown[number, state] if self.has(number, state) else self.shown[number, "then"]

    @cached_property
    def newest_first(self) -> Numbers:
        """The facts that were known and not withdrawn, the newest first."""
        known = {number: row for (number, state), row in self.shown.items() if state == "then"}
        standing = [(number, row) for number, row in known.items() if not row["is_retracted"]]
        return tuple(number for number, row in sorted(standing, key=_age))

    @property
    def later(self) -> Numbers:
        """The facts that came after prediction_time, or have been told otherwise since."""
        numbers = sorted({number for number, _ in self.shown})
        return tuple(n for n in numbers if self.shown.get((n, "then")) != self.shown.get((n, "today")))

    @property
    def of_code(self) -> tuple[Numbers, ...]:
        """The known facts, those of one table and code together."""
        return self._together("table", "code")

    @property
    def of_table(self) -> tuple[Numbers, ...]:
        """The known facts, those of one table together."""
        return self._together("table")

    def place(self, number: int) -> tuple[Any, ...]:
        """Return where a fact stands in a list: by table, the newest first."""
        row = self.row(number, "today")
        return (row["table"], *_age((number, row)))

    def _together(self, *names: str) -> tuple[Numbers, ...]:
        found: dict[tuple[Any, ...], list[int]] = {}
        for number in self.newest_first:
            found.setdefault(tuple(self.shown[number, "then"][name] for name in names), []).append(number)
        return tuple(map(tuple, found.values()))


def known_facts(connection: duckdb.DuckDBPyConnection, view: View, spine: pa.Table) -> KnownFacts:
    """Read the facts that a view may see of the one patient of the spine, over the snapshot that is open."""
    [key] = spine.to_pylist()
    collected = _Collected(of_fact={(SAME_PERSON, key["patient_id"]): OWN})
    tables = {SAME_PERSON: _persons(connection, key, collected)}
    ids = list(dict.fromkeys(tables[SAME_PERSON]["other_patient_id"].to_pylist()))
    bare = re.sub(r"--.*|'[^'\n]*'", "", view.sql)
    for name in (name for name in TABLES if re.search(rf"\b(from|join)\s+{name}\b", bare)):
        versions = _versions(connection, TABLES[name], key, ids, view.codes)
        tables[name] = _in_states(TABLES[name], versions, collected, key["prediction_time"])
    return KnownFacts(tables=tables, feed=connection.sql("from feed").to_arrow_table(), shown=collected.shown)


@dataclass(frozen=True, kw_only=True)
class _Collected:
    """The numbers given to facts so far, by table and key, and what is shown of them."""

    of_fact: dict[tuple[str, str], int]
    shown: dict[tuple[int, State], Row] = field(default_factory=dict)

    def number(self, table: str, key: str) -> int:
        return self.of_fact.setdefault((table, key), len(self.of_fact))


def _persons(connection: duckdb.DuckDBPyConnection, key: Row, collected: _Collected) -> pa.Table:
    """The numbers of the person, as known then and today."""
    stretches = connection.execute(
        """
        select
            other_patient_id,
            available_at <= $at and $at < superseded_at,
            superseded_at = timestamptz 'infinity',
            case when other_patient_id <> patient_id then available_at end
        from same_person
        where patient_id = $patient_id
        order by all
        """,
        {"patient_id": key["patient_id"], "at": key["prediction_time"]},
    ).fetchall()
    rows: list[Row] = []
    for other, is_then, is_today, available_at in stretches:
        number = collected.number(SAME_PERSON, other)
        for state in _states(is_then, is_today):
            rows.append({"patient_id": key["patient_id"], "other_patient_id": other, FACT: number, STATE: state})
            if number != OWN:
                link = {"table": SAME_PERSON, "fact_id": other, "content": {}, "available_at": available_at}
                collected.shown[number, state] = {**NOTHING_SHOWN, **link}
    return pa.Table.from_pylist(rows, schema=PERSONS)


def _versions(
    connection: duckdb.DuckDBPyConnection, table: Table, key: Row, ids: Sequence[str], codes: Sequence[str]
) -> pa.Table:
    """The versions that stand in a state, of the facts of a person and of the stay itself; of a view's codes only."""
    given: Row = {"at": key["prediction_time"], "ids": list(ids)}
    which = "list_contains($ids, patient_id)"
    if table.name == "encounter":
        which, given = f"({which} or encounter_id = $encounter_id)", {**given, "encounter_id": key["encounter_id"]}
    if table.name == "observation" and codes:
        which, given = f"{which} and list_contains($codes, code)", {**given, "codes": list(codes)}
    return connection.sql(
        f"""
        with version as (
            select
                * exclude (superseded_at),
                available_at <= $at and $at < superseded_at as is_then,
                superseded_at = timestamptz 'infinity' and coalesce(effective_at <= $at, true) as is_today
            from {table.name}
            where {which}
        )
        select * from version where is_then or is_today order by {table.key}, available_at
        """,
        params=given,
    ).to_arrow_table()


def _in_states(table: Table, versions: pa.Table, collected: _Collected, at: datetime) -> pa.Table:
    """Number the facts, and give a row for each state in which a version stands."""
    rows: list[Row] = []
    for version in versions.to_pylist():
        number = collected.number(table.name, version[table.key])
        for state in _states(version.pop("is_then"), version.pop("is_today")):
            collected.shown[number, state] = _shown(table, version)
            cut = _as_of_then(version, at) if state == "today" else version
            rows.append({**cut, FACT: number, STATE: state})
    columns = [each for each in versions.schema if each.name not in ("is_then", "is_today")]
    return pa.Table.from_pylist(rows, schema=pa.schema([*columns, (FACT, pa.int32()), (STATE, pa.string())]))


def _as_of_then(version: Row, at: datetime) -> Row:
    """What is known today of a fact, as if known at prediction_time: what ended after it has not ended."""
    cut = {**version, "available_at": min(version["available_at"], at)}
    for end, others in ENDS.items():
        if version.get(end) is not None and version[end] > at:
            cut |= {end: None, **{name: value for name, value in others.items() if name in version}}
    return cut


def _shown(table: Table, version: Row) -> Row:
    hidden = {column.name for column in (*HEAD, *TAIL)} | {table.key, "code", "encounter_id", "issued_at"}
    return {
        **NOTHING_SHOWN,
        **{name: version[name] for name in NOTHING_SHOWN if name in version},
        "table": table.name,
        "fact_id": version[table.key],
        "content": {k: v for k, v in version.items() if k not in hidden and v is not None},
    }


def _states(is_then: bool, is_today: bool) -> tuple[State, ...]:
    return (*(("then",) if is_then else ()), *(("today",) if is_today else ()))


def _age(numbered: tuple[int, Row]) -> tuple[bool, float, float, int]:
    number, row = numbered
    effective_at, available_at = row["effective_at"], row["available_at"]
    return (effective_at is None, -(effective_at or LONG_AGO).timestamp(), -available_at.timestamp(), number)
