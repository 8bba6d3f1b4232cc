"""The records of quarantine that are read again: which they are, and what became of each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from integrations.duck import quoted
from integrations.ingest.judgement import Judgement

IN_RETRY = {
    "quarantine_id": pa.int64(),
    "table_name": pa.string(),
    "extract_id": pa.string(),
    "source_file": pa.string(),
    "source_line": pa.int64(),
    "fact_key": pa.string(),
    "reason": pa.string(),
    "released_at": pa.timestamp("us", "UTC"),
}


@dataclass(frozen=True, kw_only=True)
class Retried:
    """One record that was read again: its rows of quarantine, what became of it, and from when it is known."""

    table: str
    extract_id: str
    quarantine_ids: list[int]
    reason: str
    outcome: int  # see outcomes.RANKS
    known_at: datetime


def open_retry(connection: duckdb.DuckDBPyConnection, rows: list[Any]) -> None:
    """Make `in_retry`, the rows of the records of which one row is not released, and `retried`, empty."""
    columns = {name: pa.array([getattr(row, name) for row in rows], kind) for name, kind in IN_RETRY.items()}
    connection.register("retry_rows", pa.table(columns))
    connection.execute(
        """
        create or replace temp table in_retry as
        select
            quarantine_id, table_name, extract_id, source_file as record_file, source_line as record_line, fact_key,
            reason, released_at is null as is_open
        from retry_rows
        qualify bool_or(is_open) over (partition by table_name, extract_id, record_file, record_line);
        create or replace temp table retried (
            table_name varchar, extract_id varchar, record_file varchar, record_line bigint, outcome integer,
            known_at timestamptz
        )
        """
    )
    connection.unregister("retry_rows")


def parts_of_retry(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, int]]:
    """The extracts that hold records of a table to be read again, oldest first, with their number."""
    return connection.execute(
        """
        select extract_id, count(distinct row(record_file, record_line))
        from in_retry where table_name = $table group by extract_id order by extract_id
        """,
        {"table": table},
    ).fetchall()


def make_again(connection: duckdb.DuckDBPyConnection, table: str, extract_id: str) -> list[str]:
    """Make `again`, the rows of one table and extract that are read again, and return their files."""
    connection.execute(
        f"create or replace temp table again as from in_retry "
        f"where table_name = {quoted(table)} and extract_id = {quoted(extract_id)}"
    )
    return [name for (name,) in connection.execute("select distinct record_file from again order by 1").fetchall()]


def keep_retried(connection: duckdb.DuckDBPyConnection, judgement: Judgement) -> None:
    """Leave in `judged` the records of `again`, without facts that a later version has replaced, known from now on.

    The whole extract was judged: whether a batch is suspect is seen from all of its values. Dates that are moved per
    patient know no now: there the history rule stands.
    """
    connection.execute(
        """
        delete from judged
        where (record_file::varchar, record_line) not in (select (record_file, record_line) from again);
        delete from judged
        where (record_file::varchar, record_line, fact_key) in (
            select (record_file, record_line, fact_key) from again where not is_open and fact_key is not null
        )
        """
    )
    if not judgement.is_history:
        connection.execute(
            f"""
            update judged set
                available_at = greatest(available_at, {judgement.released_sql}),
                closed_at = case when closed_at is not null then greatest(closed_at, {judgement.released_sql}) end
            """
        )


def note_retried(connection: duckdb.DuckDBPyConnection, judgement: Judgement, extract_id: str) -> None:
    """Add what became of the records of `again` to `retried`."""
    released = judgement.released_sql
    known = released if judgement.is_history else f"greatest({released}, max(fresh.available_at))"
    connection.execute(
        f"""
        insert into retried
        select
            {quoted(judgement.table)}, {quoted(extract_id)}, outcome.record_file::varchar, outcome.record_line,
            outcome.rank, {known}
        from outcome
        join judged on judged.record_file = outcome.record_file and judged.record_line = outcome.record_line
        left join fresh on fresh.{judgement.declared.key} = judged.fact_key
        group by outcome.record_file, outcome.record_line, outcome.rank
        """
    )


def all_retried(connection: duckdb.DuckDBPyConnection) -> list[Retried]:
    """What became of every record that was read again."""
    rows = connection.execute(
        """
        select
            table_name, extract_id, list(quarantine_id order by quarantine_id), min(reason), outcome, known_at
        from retried
        join in_retry using (table_name, extract_id, record_file, record_line)
        where is_open
        group by table_name, extract_id, record_file, record_line, outcome, known_at
        order by extract_id, table_name, record_file, record_line
        """
    ).fetchall()
    names = ("table", "extract_id", "quarantine_ids", "reason", "outcome", "known_at")
    return [Retried(**dict(zip(names, row, strict=True))) for row in rows]
