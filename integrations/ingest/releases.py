"""What ends a hold: a good version of the same fact that is later than the one in quarantine.

Later is the order in which versions of a fact stand in the lake: by extract, and within one by (issued_at, file, line).
A version that was issued before the bad one, and merely came after it, ends nothing. A withdrawal needs no content to
end a hold: what was set aside has been taken back.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from integrations.duck import quoted
from integrations.ingest.judgement import Judgement

SUPERSEDED, SENT_AGAIN, RETRY = "superseded", "sent_again", "retry"  # by what a row of quarantine was released
IN_QUARANTINE = {
    "quarantine_id": pa.int64(),
    "table_name": pa.string(),
    "extract_id": pa.string(),
    "record_file": pa.string(),
    "record_line": pa.int64(),
    "fact_key": pa.string(),
    "issued_at": pa.timestamp("us", "UTC"),
    "is_history": pa.int64(),
}
# What lies in quarantine from before, what this ingest sets aside, and what it releases of both.
HOLDS = """
create or replace temp table in_quarantine (
    quarantine_id bigint, table_name varchar, extract_id varchar, record_file varchar, record_line bigint,
    fact_key varchar, issued_at timestamptz, is_history boolean
);
create or replace temp view hold as
from in_quarantine
union all by name
select distinct table_name, extract_id, record_file, record_line, fact_key, issued_at, is_history
from aside
where is_bad and fact_key is not null and released_at is null;
create or replace temp table superseded (
    quarantine_id bigint, table_name varchar, extract_id varchar, record_file varchar, record_line bigint,
    fact_key varchar, released_at timestamptz,
    by_extract_id varchar, by_file varchar, by_line bigint, is_mapped boolean
)
"""


@dataclass(frozen=True, kw_only=True)
class Version:
    """The place of a record in landing."""

    extract_id: str
    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Superseded:
    """A row of quarantine that holds nothing any more, and the later record that says so."""

    quarantine_id: int
    at: datetime
    by: Version
    is_mapped: bool


def open_holds(connection: duckdb.DuckDBPyConnection, rows: list[Any]) -> None:
    """Fill `in_quarantine` with the rows that the ledger knows."""
    columns = {
        name: pa.array([row[place] for row in rows], kind) for place, (name, kind) in enumerate(IN_QUARANTINE.items())
    }
    connection.register("quarantine_rows", pa.table(columns))
    connection.execute("insert into in_quarantine from quarantine_rows")
    connection.unregister("quarantine_rows")


def find_superseded(connection: duckdb.DuckDBPyConnection, judgement: Judgement, extract_id: str) -> None:
    """Add to `superseded` what the rows of `judged` release, and date the releases of this ingest in `aside`."""
    table = quoted(judgement.table)
    [(count,)] = connection.execute(f"select count(*) from hold where table_name = {table}").fetchall()
    if count == 0:
        return
    key = judgement.declared.key
    connection.execute(
        f"""
        create or replace temp table held_fact as select distinct fact_key from hold where table_name = {table};
        create or replace temp table good as
        with sound as (
            select fact_key, record_file, record_line, issued_at, coalesce(closed_at, available_at) as known_at
            from candidate semi join held_fact using (fact_key)
            union all
            select fact_key, record_file, record_line, issued_at, available_at
            from judged semi join held_fact using (fact_key)
            where is_retracted and starts_with(fault, 'missing_field')
        ),
        known as (
            select fact_key, max(known_at) as known_at
            from (
                select fact_key, known_at from sound
                union all
                select {key}, available_at from fresh semi join held_fact on fresh.{key} = held_fact.fact_key
            )
            group by fact_key
        )
        select
            fact_key, sound.record_file::varchar as record_file, sound.record_line, issued_at, known.known_at,
            rank = 3 as is_mapped
        from sound
        join known using (fact_key)
        join outcome on outcome.record_file = sound.record_file and outcome.record_line = sound.record_line;
        insert into superseded
        select
            hold.quarantine_id, {table}, hold.extract_id, hold.record_file, hold.record_line, hold.fact_key,
            {_released_sql(judgement)}, {quoted(extract_id)}, good.record_file, good.record_line, good.is_mapped
        from hold
        join good
            on good.fact_key = hold.fact_key
            and coalesce(good.issued_at >= hold.issued_at, true)
            and (
                hold.extract_id < {quoted(extract_id)}
                or (
                    hold.extract_id = {quoted(extract_id)}
                    and row(coalesce(hold.issued_at, timestamptz '-infinity'), hold.record_file, hold.record_line)
                    < row(coalesce(good.issued_at, timestamptz '-infinity'), good.record_file, good.record_line)
                )
            )
        where hold.table_name = {table};
        update aside set released_at = superseded.released_at
        from superseded
        where superseded.quarantine_id is null
          and aside.table_name = superseded.table_name and aside.extract_id = superseded.extract_id
          and aside.record_file = superseded.record_file and aside.record_line = superseded.record_line
          and aside.fact_key = superseded.fact_key;
        delete from in_quarantine where quarantine_id in (select quarantine_id from superseded)
        """
    )


def superseded(connection: duckdb.DuckDBPyConnection) -> list[Superseded]:
    """The rows of quarantine from before that this ingest releases, each with every record that does so."""
    rows = connection.execute(
        """
        select
            quarantine_id, max(released_at) over (partition by quarantine_id),
            by_extract_id, by_file, by_line, is_mapped
        from superseded
        where quarantine_id is not null
        """
    ).fetchall()
    return [
        Superseded(
            quarantine_id=row[0],
            at=row[1],
            by=Version(extract_id=row[2], file=row[3], line=row[4]),
            is_mapped=row[5],
        )
        for row in rows
    ]


def _released_sql(judgement: Judgement) -> str:
    """When a hold ends: with what is known then. Live, not before receipt; dates that are moved say nothing of it."""
    received = judgement.received_sql
    if judgement.contract.is_date_shifted:
        return received
    if judgement.is_history:
        return f"case when hold.is_history then good.known_at else greatest(good.known_at, {received}) end"
    return f"greatest(good.known_at, {received})"
