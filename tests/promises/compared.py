"""Who is asked about in a generated hospital, tables compared byte for byte, and relations that leak."""

import re
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from integrations.tables import TABLES
from models.catalog import use_case, use_case_names
from models.cohort import cohort, eligible

RELATIONS = (*TABLES, "same_person")


def spine_of(lake: duckdb.DuckDBPyConnection, at: datetime) -> pa.Table:
    known = lake.sql(
        "select distinct site_id, patient_id, encounter_id, $at as prediction_time from encounter "
        "where available_at <= $at and $at < superseded_at order by encounter_id",
        params={"at": at},
    ).to_arrow_table()
    rows = [
        eligible(until(at, cohort(lake, use_case(name), at))).select(known.column_names) for name in use_case_names()
    ]
    keys = ["encounter_id", "prediction_time"]
    return (
        pa.concat_tables([known, *(each.cast(known.schema) for each in rows)])
        .group_by(keys)
        .aggregate([("site_id", "min"), ("patient_id", "min")])
        .rename_columns([*keys, "site_id", "patient_id"])
    )


def until(at: datetime, rows: pa.Table) -> pa.Table:
    """The rows of a cohort up to a time: where a feed's dates are moved, today lies after all of them."""
    return rows.filter(pc.less_equal(rows["prediction_time"], pa.scalar(at, rows["prediction_time"].type)))


def differing(first: pa.Table, second: pa.Table) -> list[str]:
    """The columns whose bytes differ; "rows" where there are others."""
    if first.num_rows != second.num_rows:
        return ["rows"]
    return [name for name in first.column_names if as_bytes(first, name) != as_bytes(second, name)]


def as_bytes(table: pa.Table, name: str) -> bytes:
    sink = pa.BufferOutputStream()
    column = table.select([name]).combine_chunks()
    with pa.ipc.new_stream(sink, column.schema) as stream:
        stream.write_table(column)
    return bytes(sink.getvalue())


def relations_of(sql: str) -> list[str]:
    """The canonical tables that an SQL text names, and same_person."""
    bare = re.sub(r"--.*|'[^'\n]*'", "", sql)
    return [name for name in RELATIONS if re.search(rf"\b(from|join) {name}\b", bare)]


def known_early(relation: str) -> str:
    """A relation in front of that of the snapshot, in which every version counts as known from when it was true."""
    early = "timestamptz '-infinity'"
    if relation != "same_person":
        early = f"least(available_at, coalesce(effective_at, {early}))"
    return f"{relation} as (select * replace ({early} as available_at) from temp.main.{relation})"
