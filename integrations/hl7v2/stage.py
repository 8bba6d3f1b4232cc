"""Messages of a feed: files to the staged relations of the tables that it feeds.

Records of observation are the OBX of results (ORU^R01, OUL^R22 to R24); of patient_link the PID of these and of
admissions (ADT) and the MRG of merges; of patient, encounter and encounter_location the PID and PV1 of admissions. A
message of another kind is one record, its MSH, out of scope; so is one that came before. Files are read in batches into
temporary tables; nothing that a sender writes raises.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from integrations.contract import Contract
from integrations.hl7v2.control import CONFLICT, Known, Verdicts, judge_messages
from integrations.hl7v2.feed import Feed
from integrations.hl7v2.message import conflict, leave_out, read_message
from integrations.hl7v2.movement import Movement
from integrations.hl7v2.persons import fold_persons
from integrations.hl7v2.rows import SCHEMAS, STAY, Rows
from integrations.hl7v2.segments import messages
from integrations.hl7v2.stays import Location, Stay, fold
from integrations.tables import NEWEST_FIRST

BATCH = 20_000  # rows


def stage_messages(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    contract: Contract,
    *,
    root: Path,
    extract_id: str,
    known: Known,
) -> dict[str, str]:
    """Read the files of an extract once, and return the temporary view of staged rows of each table.

    `record_file` is the path below `root`, `record_line` the segment, from 1. `known`: the messages of the extracts
    before, by their control ids. Persons and stays go on as they stand in the lake that the connection has open.
    """
    paths = [str(path) for path in files]
    if _staged(connection) != paths:
        verdicts = judge_messages(connection, files, root, contract, extract_id, known)
        _stage(connection, files, contract, root, verdicts)
        connection.execute(
            "create or replace temp table staged_paths as select unnest($paths) as path", {"paths": paths}
        )
    for table in SCHEMAS:
        connection.execute(f"create or replace temp view staged_{table} as from sent_{table}")
    return {table: f"staged_{table}" for table in SCHEMAS}


def _staged(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The files that were staged last: every table of an extract asks for the same."""
    connection.execute("create temp table if not exists staged_paths (path varchar)")
    return [path for (path,) in connection.execute("select path from staged_paths").fetchall()]


def _stage(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    contract: Contract,
    root: Path,
    verdicts: Verdicts,
) -> None:
    feed, rows, movements = Feed.of(contract), Rows(), list[Movement]()
    for table in SCHEMAS:
        _with_rows(
            connection, SCHEMAS[table].empty_table(), f"create or replace temp table sent_{table} as from sent_rows"
        )
    for path in files:
        name = path.relative_to(root).as_posix()
        for first, message in messages(path):
            verdict = verdicts.get((name, first))
            if verdict == CONFLICT:
                conflict(name, first, message, feed, rows)
            elif verdict:
                leave_out(name, first, verdict, feed, rows)
            else:
                movements += read_message(name, first, message, feed, rows)
            if len(rows.observation) >= BATCH or len(rows.patient_link) >= BATCH:
                _keep(connection, rows)
    numbers = sorted({each.encounter_id for each in movements if each.encounter_id})
    fold(movements, stays_of(connection, contract.source, numbers) if numbers else {}, rows)
    _keep(connection, rows)
    if "patient" in feed.tables:
        fold_persons(connection, contract.source)


def stays_of(connection: duckdb.DuckDBPyConnection, source: str, numbers: Sequence[str]) -> dict[str, Stay]:
    """How the stays of these numbers stand in the lake, newest version of each fact."""
    connection.register("wanted", pa.table({"encounter_id": [f"{source}/{number}" for number in numbers]}))
    stays = {number: Stay() for number in numbers}
    for row in _newest(connection, "encounter", ", ".join(_text(column) for column in STAY)):
        stays[row[0].removeprefix(f"{source}/")].known = dict(zip(STAY, row[1:], strict=True))
    place = ", ".join(("location_id", "ward", _text("started_at"), _text("ended_at")))
    for encounter_id, location_id, ward, started_at, ended_at in _newest(connection, "encounter_location", place):
        number = encounter_id.removeprefix(f"{source}/")
        own = location_id.removeprefix(f"{source}/")
        stays[number].locations.append(Location(location_id=own, ward=ward, started_at=started_at, ended_at=ended_at))
    connection.unregister("wanted")
    return stays


def _text(column: str) -> str:
    """A column as a sender might have written it: instants with their offset."""
    return f"strftime({column} at time zone 'UTC', '%Y%m%d%H%M%S.%f+0000')" if column.endswith("_at") else f'"{column}"'


def _newest(connection: duckdb.DuckDBPyConnection, table: str, columns: str) -> list[tuple[str, ...]]:
    key = f"{table.removeprefix('encounter_')}_id"
    return connection.execute(
        f"""
        select encounter_id, {columns}
        from every_{table} semi join wanted using (encounter_id)
        qualify not is_retracted and row_number() over (
            partition by {key} order by {NEWEST_FIRST}
        ) = 1
        order by encounter_id, started_at, available_at
        """
    ).fetchall()


def _keep(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Move the rows gathered so far into their tables."""
    for table in SCHEMAS:
        if getattr(rows, table):
            _with_rows(connection, rows.of(table), f"insert into sent_{table} from sent_rows")
    rows.clear()


def _with_rows(connection: duckdb.DuckDBPyConnection, rows: pa.Table, statement: str) -> None:
    """Run a statement that reads `sent_rows`."""
    connection.register("sent_rows", rows)
    connection.execute(statement)
    connection.unregister("sent_rows")
