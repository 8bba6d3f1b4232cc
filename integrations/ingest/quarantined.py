"""What the records keep of quarantine: rows of records that were set aside, and when they were released."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, delete, select, update

from integrations.records import insert_new
from integrations.records.schema import extract, quarantine


def note_quarantined(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Write rows of records that were set aside, with their bytes."""
    insert_new(connection, quarantine, rows)


def open_quarantine(connection: Connection) -> list[Any]:
    """The rows of quarantine that a later good version of their fact would release, of every source."""
    q = quarantine.c
    query = (
        select(
            q.quarantine_id,
            q.table_name,
            q.extract_id,
            q.source_file,
            q.source_line,
            q.fact_key,
            q.issued_at,
            extract.c.is_history,
        )
        .join(extract, extract.c.extract_id == q.extract_id)
        .where(q.released_at.is_(None), q.fact_key.is_not(None))
    )
    return list(connection.execute(query))


def record_hashes(connection: Connection, quarantine_ids: list[int]) -> dict[int, str]:
    """The identity of the source record of each row of quarantine."""
    found: dict[int, str] = {}
    for start in range(0, len(quarantine_ids), 500):
        some = quarantine.c.quarantine_id.in_(quarantine_ids[start : start + 500])
        rows = connection.execute(select(quarantine.c.quarantine_id, quarantine.c.record_hash).where(some))
        found |= {row.quarantine_id: row.record_hash for row in rows}
    return found


def note_released(connection: Connection, releases: Iterable[tuple[int, datetime, str]]) -> None:
    """Write (quarantine row, from when it holds nothing any more, by what)."""
    is_it = quarantine.c.quarantine_id == bindparam("row_id", type_=Integer)
    closing = update(quarantine).where(is_it, quarantine.c.released_at.is_(None))
    rows = [{"row_id": row_id, "released_at": at, "released_by": by} for row_id, at, by in releases]
    if rows:
        connection.execute(closing, rows)


def rows_of(connection: Connection, source: str) -> list[Any]:
    """Every row of quarantine of a source, released ones too, without its bytes."""
    columns = [column for column in quarantine.c if column.name != "bytes"]
    return list(
        connection.execute(select(*columns).where(quarantine.c.source == source).order_by(quarantine.c.quarantine_id))
    )


def restate(connection: Connection, quarantine_ids: list[int], rows: list[dict[str, Any]]) -> None:
    """Put what is said of a record now in place of what was said of it before."""
    connection.execute(delete(quarantine).where(quarantine.c.quarantine_id.in_(quarantine_ids)))
    note_quarantined(connection, rows)
