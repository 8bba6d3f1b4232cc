"""Records that waited: once what they wait for has come, they are read from landing and go the way of any other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import Connection

from integrations.codes import load_codes
from integrations.contract import Contract, load_contract
from integrations.ingest import ledger
from integrations.ingest.doors import readable_root, stage
from integrations.ingest.judgement import Judgement
from integrations.ingest.known import KNOWN_ENCOUNTERS, count_as_known, known_patients_sql
from integrations.ingest.load import Writing, load_table
from integrations.ingest.places import IngestPlaces
from integrations.ingest.set_aside import Origin
from integrations.landing import read_landed

COLUMNS = ("waiting_id", "source", "extract_id", "record_file", "record_line", "waits_for_table", "waits_for")


@dataclass
class TakenUp:
    """What one ingest takes up: waiting rows that are closed, those that wait for more, and where from."""

    closed: list[int] = field(default_factory=list)
    moved: list[tuple[int, str, str]] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)


def take_up(
    connection: duckdb.DuckDBPyConnection,
    records: Connection,
    table: str,
    received_at: datetime,
    places: IngestPlaces,
    writing: Writing,
    taken: TakenUp,
) -> tuple[int, int]:
    """Take up the records of one table that need not wait, of every source; return (records mapped, rows written)."""
    closed = set(taken.closed)
    waiting = [row for row in ledger.waiting_records(records, table) if row.waiting_id not in closed]
    if not waiting:
        return 0, 0
    _make_waiting(connection, waiting)
    mapped = rows = 0
    for source in sorted({row.source for row in waiting}):
        contract = load_contract(source, places.sources)
        codes = load_codes(places.sources / source)
        for extract_id in _ready_extracts(connection, source, known_patients_sql(contract)):
            origin, staged, files = _stage_again(connection, records, contract, table, extract_id, places)
            taken.origins[extract_id] = origin
            judgement = Judgement(
                contract=contract,
                table=table,
                received_at=received_at,
                is_history=False,
                bucket_count=places.lake.bucket_count,
                files=files,
            )
            account = load_table(connection, staged, judgement, codes, extract_id, writing)
            count_as_known(connection, table, "fresh")
            mapped, rows = mapped + account.mapped, rows + account.rows_written
            _close(connection, table, extract_id, taken)
    return mapped, rows


def _make_waiting(connection: duckdb.DuckDBPyConnection, rows: list[Any]) -> None:
    columns: Mapping[str, list[Any]] = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
    connection.register("waiting_rows", pa.table(columns))
    connection.execute("create or replace temp table waiting_now as from waiting_rows")
    connection.unregister("waiting_rows")


def _ready_extracts(connection: duckdb.DuckDBPyConnection, source: str, known_patients: str) -> list[str]:
    """Yield the extracts with records that are ready, oldest first, each with its records in `again`."""
    connection.execute(
        f"""
        create or replace temp table ready as
        select * from waiting_now semi join ({known_patients}) as known on waits_for = known.id
        where source = $source and waits_for_table <> 'encounter'
        union all
        select * from waiting_now semi join ({KNOWN_ENCOUNTERS}) as known on waits_for = known.id
        where source = $source and waits_for_table = 'encounter'
        """,
        {"source": source},
    )
    found = connection.execute("select distinct extract_id from ready order by extract_id").fetchall()
    return [extract_id for (extract_id,) in found]


def _stage_again(
    connection: duckdb.DuckDBPyConnection,
    records: Connection,
    contract: Contract,
    table: str,
    extract_id: str,
    places: IngestPlaces,
) -> tuple[Origin, str, tuple[str, ...]]:
    """Stage the ready records of one extract from its landed files; return where, the relation, and the files."""
    connection.execute(
        "create or replace temp table again as select distinct waiting_id, record_file, record_line from ready "
        "where extract_id = $extract_id",
        {"extract_id": extract_id},
    )
    landed = read_landed(places.landing / contract.source / extract_id)
    root = readable_root(landed, contract, places.temp)
    names = {name for (name,) in connection.execute("select distinct record_file from again").fetchall()}
    files = [file for file in landed.files if file.name in names]
    staged = stage(
        connection,
        contract,
        table,
        files=files,
        extract_id=extract_id,
        root=root,
        sources=places.sources,
        records=records,
    )
    connection.execute(
        f"create or replace temp view staged_again as from {staged} semi join again using (record_file, record_line)"
    )
    origin = Origin.of(contract, extract_id, root)
    return origin, "staged_again", tuple(file.name for file in files)


def _close(connection: duckdb.DuckDBPyConnection, table: str, extract_id: str, taken: TakenUp) -> None:
    """Note what became of the records in `again`; one that still waits keeps its row, with what it waits for now."""
    rows = connection.execute(
        """
        select waiting_id, min(waits_for_table), min(waits_for)
        from again
        left join (
            from aside where table_name = $table and extract_id = $extract_id and not is_bad and waits_for is not null
        ) using (record_file, record_line)
        group by waiting_id
        """,
        {"table": table, "extract_id": extract_id},
    ).fetchall()
    for waiting_id, waits_for_table, waits_for in rows:
        if waits_for is None:
            taken.closed.append(waiting_id)
        else:
            taken.moved.append((waiting_id, waits_for_table, waits_for))
    connection.execute(
        "delete from aside where table_name = $table and extract_id = $extract_id and not is_bad",
        {"table": table, "extract_id": extract_id},
    )
