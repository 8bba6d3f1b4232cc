"""What lies in the tables and beside them, per source: the data of `rounds tables` and `rounds quarantine`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import Connection, func, literal, select, union_all

from integrations.duck import connect, lock, quoted
from integrations.ingest import ledger
from integrations.ingest.known import open_lake
from integrations.ingest.places import IngestPlaces
from integrations.ingest.releases import SENT_AGAIN
from integrations.records import Records
from integrations.records.schema import account, extract, quarantine, waiting
from integrations.tables import TABLES

FIGURES = ("facts", "versions", "patients", "first_available_at", "last_available_at")


def tables_report(records: Records, places: IngestPlaces, *, memory_limit_mb: int = 400) -> list[dict[str, Any]]:
    """One entry per canonical table and source that has sent an extract, a table without fact with 0.

    records: the distinct source records ever received for the table, whatever became of them. facts: distinct keys.
    versions: rows. patients: those with a fact. out_of_scope: distinct records left out. waiting: those that wait
    now. quarantined: distinct records set aside and not released.
    """
    places.temp.mkdir(parents=True, exist_ok=True, mode=0o700)
    with records.read() as db, TemporaryDirectory(dir=places.temp, prefix="tables-") as temp:
        connection = connect(Path(temp), memory_limit_mb=memory_limit_mb)
        try:
            lock(connection, Path(temp), places.lake.root, places.landing)
            _, versions = ledger.newest_snapshot(db)
            open_lake(connection, places.lake, versions)
            figures = _figures(connection)
            counts = _record_counts(db, connection, places.landing)
        finally:
            connection.close()
        sources = ledger.sources(db)
    return [
        {
            "table": table,
            "source": source,
            "records": counts.get(("records", source, table), 0),
            **figures.get((source, table), dict.fromkeys(FIGURES, 0) | dict.fromkeys(FIGURES[3:])),
            **{name: counts.get((name, source, table), 0) for name in ("out_of_scope", "waiting", "quarantined")},
        }
        for source in sources
        for table in TABLES
    ]


def quarantine_report(records: Records, source: str | None = None) -> dict[str, Any]:
    """Why records were set aside and not released: {reasons: {reason: records}, rows: [{place, reason, ...}]}.

    A record that was sent and set aside twice is one record; its rows are two.
    holding_no_one: records without a readable patient or code, for which no score is held though a result may be
    missing. Carries no bytes and no patient: places and field names only.
    """
    names = (
        "quarantine_id",
        "extract_id",
        "source",
        "table_name",
        "source_file",
        "source_line",
        "reason",
        "detail",
        "code",
    )
    holds = (quarantine.c.patient_id.is_not(None) & quarantine.c.code.is_not(None)).label("holds")
    columns = (*(quarantine.c[name] for name in names), quarantine.c.quarantined_at, quarantine.c.record_hash)
    query = select(*columns, holds).where(quarantine.c.released_at.is_(None))
    if source is not None:
        query = query.where(quarantine.c.source == source)
    by_reason: dict[str, set[tuple[str, str]]] = {}
    holding: dict[tuple[str, str], bool] = {}
    rows = []
    with records.read() as db:
        for row in db.execute(query.order_by(quarantine.c.quarantine_id)):
            record = (row.source, row.record_hash)
            by_reason.setdefault(row.reason, set()).add(record)
            holding[record] = holding.get(record, False) or bool(row.holds)
            rows.append(
                {**{name: getattr(row, name) for name in names}, "quarantined_at": row.quarantined_at.isoformat()}
            )
    return {
        "reasons": {reason: len(found) for reason, found in sorted(by_reason.items())},
        "holding_no_one": list(holding.values()).count(False),
        "rows": rows,
    }


def _figures(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table in TABLES.values():
        rows = connection.execute(
            f"""
            select
                source, count(distinct {table.key}), count(*), count(distinct patient_id),
                min(available_at), max(available_at)
            from every_{table.name}
            group by source
            """
        ).fetchall()
        for source, facts, versions, patients, first, last in rows:
            values = (facts, versions, patients, first.isoformat(), last.isoformat())
            found[source, table.name] = dict(zip(FIGURES, values, strict=True))
    return found


def _record_counts(
    db: Connection, connection: duckdb.DuckDBPyConnection, landing: Path
) -> dict[tuple[str, str, str], int]:
    """Count distinct records by what became of them; the same bytes set aside twice are one record."""
    _gather_hashes(db, connection, landing)
    counted: dict[tuple[str, str, str], int] = {}
    for kind, source, table, count in connection.execute(
        """
        select kind, source, table_name, count(distinct record_hash) from hashes where is_open group by all
        union all
        select 'records', source, table_name, count(distinct record_hash) from hashes group by all
        """
    ).fetchall():
        counted[kind, source, table] = count
    mapped = (
        select(extract.c.source, account.c.table_name, func.sum(account.c.mapped).label("mapped"))
        .join(extract, extract.c.extract_id == account.c.extract_id)
        .group_by(extract.c.source, account.c.table_name)
    )
    for row in db.execute(mapped):
        place = ("records", row.source, row.table_name)
        counted[place] = counted.get(place, 0) + int(row.mapped)
    return counted


def _gather_hashes(db: Connection, connection: duckdb.DuckDBPyConnection, landing: Path) -> None:
    """Make `hashes`: the records that were ever set aside; is_open: they still are.

    Those that were sent again and mapped then are counted where they were mapped.
    """
    parts = []
    for table, kind, closed_at in (
        (quarantine, "quarantined", quarantine.c.released_at),
        (waiting, "waiting", waiting.c.taken_up_at),
    ):
        parts.append(
            select(
                literal(kind),
                table.c.source,
                table.c.table_name,
                table.c.record_hash,
                closed_at.is_(None).label("is_open"),
            )
        )
    parts[0] = parts[0].where(func.coalesce(quarantine.c.released_by, "") != SENT_AGAIN)
    rows = list(db.execute(union_all(*parts)))
    names = ("kind", "source", "table_name", "record_hash", "is_open")
    kinds = (pa.string(), pa.string(), pa.string(), pa.string(), pa.bool_())
    arrays = {name: pa.array([row[place] for row in rows], kinds[place]) for place, name in enumerate(names)}
    connection.register("hash_rows", pa.table(arrays))
    connection.execute("create or replace temp table hashes as from hash_rows")
    connection.unregister("hash_rows")
    for source, extract_id in ledger.committed_ids(db):
        file = landing / source / f"{extract_id}.out_of_scope.parquet"
        if file.exists():
            connection.execute(
                f"insert into hashes select 'out_of_scope', {quoted(source)}, table_name, record_hash, true "
                f"from read_parquet({quoted(file)})"
            )
