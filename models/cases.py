"""Patient stories of a use case: facts in, expected cohort, features and label out. They are tests and documentation.

All stories of one file lie in one hospital, so each is a bystander of all others. Times are UTC. A fact's columns are
those of the canonical table; what a story leaves out has a default: available_at is when the fact was true, a stay with
an end is two versions, known at admission and at discharge; a patient with deceased_at is deceased.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from integrations.declared import load_declared
from integrations.errors import WrongUsage
from integrations.reading import Reading
from integrations.snapshot import Feed, open_relations
from integrations.tables import TABLES, Column

SITE = "demo"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
ARROW_TYPES = {
    "text": pa.string(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "instant": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "count": pa.int32(),
}
REFERENCES = ("patient_id", "encounter_id")
DEFAULTS: dict[str, dict[str, object]] = {
    "patient": {"birth_date": date(1950, 6, 15), "sex": "female"},
    "encounter": {"class": "inpatient", "admission_type": "emergency", "admission_source": "home"},
    "condition": {"kind": "billing", "code_system": "icd-10-cm"},
    "observation": {"status": "final", "is_extreme": False},
}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(Strict):
    """By stay, then by time: the state in the cohort (eligible or a reason), features, and label with its reason."""

    cohort: dict[str, dict[str, str]] = Field(default_factory=dict)
    features: dict[str, dict[str, dict[str, float | None]]] = Field(default_factory=dict)
    label: dict[str, dict[str, str]] = Field(default_factory=dict)


class Case(Strict):
    """One story: what is known, as of when, and what must come out. as_of defaults to the file's."""

    story: str
    facts: dict[str, list[dict[str, Any]]]
    as_of: str | None = None
    expect: Expected


class BareSite(Strict):
    """What a feed brings, and what of it it does not tell, where that is less than all."""

    tables: tuple[str, ...] = tuple(TABLES)
    not_told: tuple[str, ...] = ()


class Cases(Strict):
    """The stories of one use case, with the clock of the hospital and how late each feed may be.

    A bare site has one feed, of its own name.
    """

    time_zone: str
    lateness_hours: dict[str, int]
    bare_sites: dict[str, BareSite] = Field(default_factory=dict)
    as_of: str
    cases: list[Case]


def load_cases(path: Path) -> Cases:
    """Read the stories. Raises WrongUsage with the line for what the file may not say."""
    return load_declared(path, Cases)


def instant(text: object) -> datetime:
    """Read a time of a story; without an offset it is UTC."""
    found = datetime.fromisoformat(str(text))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def encounter_key(case_number: int, name: str) -> str:
    """Return the id under which a stay of a story lies in the common hospital."""
    return f"ehr/{case_number:03d}.{name}"


def open_stories(connection: duckdb.DuckDBPyConnection, cases: Cases, folder: Path) -> None:
    """Make the relations of a snapshot that holds the facts of all stories."""
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in TABLES}
    for number, case in enumerate(cases.cases):
        for table, facts in case.facts.items():
            if table not in TABLES:
                raise WrongUsage(f"unknown table {table}", where=case.story, to_do=f"known: {', '.join(TABLES)}")
            for line, fact in enumerate(facts, 1):
                rows[table].extend(_versions(table, number, line, fact))
    feeds = [
        Feed(source=source, site_id=SITE, time_zone=cases.time_zone, lateness=timedelta(hours=hours))
        for source, hours in cases.lateness_hours.items()
    ]
    feeds += [
        Feed(source=site, site_id=site, time_zone=cases.time_zone, lateness=timedelta(days=1), **told.model_dump())
        for site, told in cases.bare_sites.items()
    ]
    open_facts(connection, rows, feeds, folder)


def open_facts(
    connection: duckdb.DuckDBPyConnection, rows: dict[str, list[dict[str, object]]], feeds: Sequence[Feed], folder: Path
) -> None:
    """Make the relations of a snapshot from rows of the canonical tables."""
    files = {}
    for name, table in TABLES.items():
        schema = pa.schema([(c.name, ARROW_TYPES[c.kind]) for c in table.all_columns if c.name != "bucket"])
        path = folder / name / "bucket=0" / "rows.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows.get(name, []), schema=schema), path)
        files[name] = [str(path)]
    reading = Reading(
        files=files, bucket_count=1, buckets=None, tables=tuple(TABLES), codes=None, columns={}, materialize=True
    )
    open_relations(connection, reading, feeds)


def _versions(table: str, number: int, line: int, fact: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Give the rows that one line of a story stands for."""
    fact = {**DEFAULTS.get(table, {}), **fact}
    discharge_known_at = fact.pop("discharge_known_at", fact.get("ended_at"))
    if table == "patient":
        fact.setdefault("is_deceased", fact.get("deceased_at") is not None)
    if table == "encounter" and fact.get("ended_at") and "available_at" not in fact:
        admitted = {k: v for k, v in fact.items() if k not in ("ended_at", "discharge_disposition")}
        yield _row(table, number, line, {**admitted, "available_at": fact["started_at"]})
        fact["available_at"] = discharge_known_at
    yield _row(table, number, line, fact)


def _row(table: str, number: int, line: int, fact: dict[str, Any]) -> dict[str, object]:
    columns = {column.name: column for column in TABLES[table].all_columns}
    key = TABLES[table].key
    source = fact.pop("source", "ehr")
    names = {"id": key, "patient": "patient_id", "encounter": "encounter_id"}
    values = {names.get(name, name): value for name, value in fact.items()}
    unknown = [name for name in values if name not in columns]
    if unknown:
        raise WrongUsage(f"unknown column {', '.join(unknown)} of {table}", to_do=f"known: {', '.join(columns)}")
    values.setdefault(key, f"{table}{line}")
    row = {name: _value(columns[name], value) for name, value in values.items()}
    for name in {*REFERENCES, key} & values.keys():
        of = source if name != "encounter_id" else "ehr"
        row[name] = f"{of}/{number:03d}.{values[name]}"
    if "value" in row:
        row["value"] = f"{number:03d}.{row['value']}"  # identifiers of two stories are never the same
    true_at = row.get("effective_at") or row.get("started_at")
    head = {"source": source, "site_id": SITE, "is_retracted": False, "is_available_at_inferred": False}
    tail = {"extract_id": "story", "source_file": "cases.yaml", "source_line": line}
    return {**head, **tail, "effective_at": true_at, "available_at": true_at or LONG_AGO, **row}


def _value(column: Column, value: Any) -> object:
    if value is None or column.kind in ("flag", "number", "count"):
        return value
    if column.kind == "instant":
        return instant(value)
    if column.kind == "date":
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    return str(value)
