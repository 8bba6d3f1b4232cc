"""Compare an extract's figures with those of its feed before: what is odd, how odd, and what to do."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Connection

from integrations.watch import bounds, sentences
from integrations.watch.extent import Extent
from integrations.watch.finding import Found
from integrations.watch.freshness import late_or_stale
from integrations.watch.past import open_past

HERE = Path(__file__).parent
BOUNDS: Mapping[str, object] = {name.lower(): getattr(bounds, name) for name in vars(bounds) if name.isupper()}
Row = Mapping[str, Any]
Rows = Sequence[Row]


def judge(
    connection: duckdb.DuckDBPyConnection, records: Connection, extent: Extent, loinc_codes: frozenset[str]
) -> list[Found]:
    """What the extract shows, by `watch_figure` and the figures that records keep; the most severe first.

    A history is where the watch learns what is usual: nothing is found in it. loinc_codes: those of codes.csv.
    """
    if not extent.is_watched or extent.is_history:
        return []
    open_past(connection, records, extent)
    found = list(_found(connection, extent, loinc_codes))
    found += _still_standing(connection, extent, found)
    found.sort(key=lambda each: (each.kind, each.subject))
    return sorted(found, key=lambda each: each.severity != "blocking")


def _found(connection: duckdb.DuckDBPyConnection, extent: Extent, loinc_codes: frozenset[str]) -> Iterator[Found]:
    scales = ask(connection, "judge_scale", extent)
    present = {
        code: subjects
        for code, subjects in connection.execute(
            "select code, list(subject) from watch_figure where kind = 'code' and value_count > 0 group by code"
        ).fetchall()
    }
    for row in ask(connection, "judge_names", extent):
        yield sentences.name(row, extent, loinc_codes, present)
    yield from (sentences.scale(row, extent) for row in scales if row["is_jump"])
    yield from sentences.units(
        ask(connection, "judge_unit", extent), extent, same_scale={row["code"] for row in scales if not row["is_jump"]}
    )
    yield from (sentences.share(row, extent) for row in ask(connection, "judge_share", extent))
    yield from (sentences.delay(row, extent) for row in ask(connection, "judge_delay", extent))
    yield from (sentences.volume(row) for row in ask(connection, "judge_volume", extent))
    yield from late_or_stale(connection, extent)


def _still_standing(connection: duckdb.DuckDBPyConnection, extent: Extent, found: Sequence[Found]) -> Iterator[Found]:
    """Codes that arrived wrong, by a finding nobody has released, and of which this extract shows nothing better.

    Too few patients to be judged are no proof that the sender has mended it, and theirs are the results that it holds.
    """
    judged = {row["code"] for row in ask(connection, "judge_scale", extent)}
    again = {(each.kind, each.subject) for each in found}
    for row in ask(connection, "judge_standing", extent):
        kind, code = row["kind"], row["subject"]
        is_seen_well = code in judged if kind == "scale_jump" else row["patient_count"] >= bounds.MIN_PATIENTS
        if (kind, code) not in again and not is_seen_well:
            yield sentences.standing(row, extent)


def ask(connection: duckdb.DuckDBPyConnection, question: str, extent: Extent) -> Rows:
    sql = (HERE / f"{question}.sql").read_text(encoding="utf-8")
    known = {**BOUNDS, "extract_id": extent.extract_id}
    found = connection.execute(sql, {name: known[name] for name in _wanted(sql) if name in known})
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _wanted(sql: str) -> set[str]:
    return set(re.findall(r"\$(\w+)", sql))
