"""What a feed was like before: its committed figures of the last weeks, and what was found in them."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import Connection, Row, select

from integrations.records.schema import audit, extract, finding, finding_extract, watch_figure
from integrations.watch.bounds import REMEMBERED
from integrations.watch.extent import Extent

FIGURES = pa.schema(
    [
        *((name, pa.string()) for name in ("extract_id", "kind", "subject", "code")),
        ("day", pa.date32()),
        *((name, pa.int64()) for name in ("value_count", "patient_count", "part_count")),
        *((name, pa.float64()) for name in ("low", "middle", "high")),
        (
            "hours",
            pa.list_(pa.struct([("hour", pa.int64()), ("result_count", pa.int32()), ("patient_hours", pa.float64())])),
        ),
        ("era", pa.string()),
    ]
)
STORED = [name for name in FIGURES.names if name != "era"]
# The kind of finding that speaks of a kind of figures, where they differ; these two by code, whatever was sent.
FOUND_IN = {"code": "scale_jump", "unit": "unit_mix"}
Told = tuple[str, str, str]  # kind and subject of a finding, and an extract in which it was seen
WINDOWS = pa.schema(
    [
        ("extract_id", pa.string()),
        ("place", pa.int64()),
        ("received_at", pa.timestamp("us", "UTC")),
        ("is_history", pa.bool_()),
        ("days", pa.float64()),
        ("is_weekend", pa.bool_()),
    ]
)
SEEN = pa.schema(
    [(name, pa.string()) for name in ("kind", "subject", "extract_id", "severity")]
    + [(name, pa.bool_()) for name in ("is_released", "is_usual")]
)


def open_past(connection: duckdb.DuckDBPyConnection, records: Connection, extent: Extent) -> None:
    """Make `past_figure`, `past_window` (the extracts before, in order, and this one last) and `past_finding`.

    era of a figure: usual; doubtful, where something was found in it: that is no history, also when it was released as
    mended; accepted, where a person has released it as usual: that is usual from now on too. (As a column, since
    DuckDB 2.0 compares sums wrongly that it takes over a left join to what it knows to be empty.)
    """
    windows, found = _windows(records, extent), _findings(records, extent)
    place = 1 + max((row["place"] for row in windows), default=-1)
    _make(connection, "past_window", WINDOWS, (each.values() for each in (*windows, _window(extent, place))))
    known, eras = {str(row["extract_id"]) for row in windows}, _eras(found)
    _make(connection, "past_figure", FIGURES, _figures(records, extent, known, eras))
    _make(connection, "past_finding", SEEN, (each.values() for each in found))


def before_at(records: Connection, source: str, extract_id: str, received_at: datetime) -> Any:
    """When the newest live extract of the feed, other than this one, was received: what it tells of begins there.

    Before the first of them that of the history; null before any. A history loaded later ends no night.
    """
    e = extract.c
    query = (
        select(e.received_at)
        .where(e.source == source, e.status == "committed", e.extract_id != extract_id, e.received_at <= received_at)
        .order_by(e.is_history, e.received_at.desc())
        .limit(1)
    )
    return records.execute(query).scalar()


def _windows(records: Connection, extent: Extent) -> list[dict[str, Any]]:
    """The committed extracts of the feed that are not too old, each with the time since the one before it."""
    e = extract.c
    query = (
        select(e.extract_id, e.received_at, e.is_history)
        .where(e.source == extent.contract.source, e.status == "committed", e.extract_id != extent.extract_id)
        .where(e.received_at > extent.received_at - 2 * REMEMBERED, e.received_at <= extent.received_at)
        .order_by(e.received_at, e.extract_id)
    )
    rows = list(records.execute(query))
    windows, before = list[dict[str, Any]](), None
    for place, row in enumerate(rows):
        windows.append(_window(_extent_of(row, before, extent), place))
        if before is None or before.is_history or not row.is_history:
            before = row
    oldest = extent.received_at - REMEMBERED
    return [each for each in windows if each["received_at"] > oldest or each["is_history"]]


def _extent_of(row: Row[Any], before: Row[Any] | None, extent: Extent) -> Extent:
    return Extent(
        contract=extent.contract,
        extract_id=row.extract_id,
        received_at=row.received_at,
        is_history=bool(row.is_history),
        before_at=before.received_at if before else None,
    )


def _window(extent: Extent, place: int) -> dict[str, Any]:
    return {
        "extract_id": extent.extract_id,
        "place": place,
        "received_at": extent.received_at,
        "is_history": extent.is_history,
        "days": extent.days,
        "is_weekend": extent.day.weekday() >= 5,
    }


def _figures(
    records: Connection, extent: Extent, known: set[str], eras: Mapping[Told, str]
) -> Iterable[tuple[Any, ...]]:
    """The figures of those extracts; of older ones only that a code, ward or sender was there."""
    f = watch_figure.c
    of_feed = (f.source == extent.contract.source) & (f.extract_id != extent.extract_id)
    oldest = (extent.received_at - REMEMBERED).date()
    for row in records.execute(select(*(f[name] for name in STORED)).where(of_feed, f.day >= oldest)):
        if row[0] in known:
            yield (*row[:-1], _hours(row[-1]), eras.get(_told_by(*row[:4]), "usual"))
    named = select(f.extract_id, f.kind, f.subject, f.code, f.day).where(
        of_feed, f.day < oldest, f.kind.in_(("code", "ward", "sender"))
    )
    for row in records.execute(named):
        yield (*row, 0, 0, 0, None, None, None, None, "usual")


def _told_by(extract_id: str, kind: str, subject: str, code: str | None) -> Told:
    """The finding that would speak of a figure."""
    return FOUND_IN.get(kind, kind), str(code if kind in FOUND_IN else subject), extract_id


def _eras(found: Iterable[Mapping[str, Any]]) -> dict[Told, str]:
    eras: dict[Told, str] = {}
    for each in found:
        key = each["kind"], each["subject"], each["extract_id"]
        is_doubtful = not each["is_usual"] or eras.get(key) == "doubtful"
        eras[key] = "doubtful" if is_doubtful else "accepted"
    return eras


def _hours(stored: list[list[Any]] | None) -> list[dict[str, Any]] | None:
    if stored is None:
        return None
    return [dict(zip(("hour", "result_count", "patient_hours"), each, strict=True)) for each in stored]


def _findings(records: Connection, extent: Extent) -> list[dict[str, Any]]:
    """In which extracts of the feed what was found, and whether somebody has released it by now, and as what."""
    f = finding.c
    query = (
        select(f.kind, f.subject, f.severity, finding_extract.c.extract_id, f.released_at, audit.c.body)
        .join(finding_extract, finding_extract.c.finding_id == f.finding_id)
        .outerjoin(audit, audit.c.seq == f.released_seq)
        .where(f.source == extent.contract.source)
    )
    found = []
    for row in records.execute(query):
        is_released = row.released_at is not None and row.released_at <= extent.received_at
        found.append(
            {
                "kind": row.kind,
                "subject": row.subject,
                "extract_id": row.extract_id,
                "severity": row.severity,
                "is_released": is_released,
                "is_usual": is_released and json.loads(row.body).get("is_usual") is True,
            }
        )
    return found


def _make(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, rows: Iterable[Iterable[Any]]) -> None:
    """Make a table of rows whose values stand in the order of the schema."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, each.type) for column, each in zip(columns, schema, strict=True)]
    connection.register("past_rows", pa.table(arrays, schema=schema))
    connection.execute(f"create or replace temp table {name} as from past_rows")
    connection.unregister("past_rows")
