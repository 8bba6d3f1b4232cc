"""Laboratory results as HL7 v2 ORU^R01 messages: files to the staged relations of observation and patient_link.

Records of observation are the OBX of ORU^R01, one per message of another kind (its MSH, out of scope), and one per
segment that cannot be read. Records of patient_link are the PID of ORU^R01. Files are read in batches into temporary
tables; nothing that a sender writes raises.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from integrations.contract import PatientsOf
from integrations.hl7v2.message import read_message
from integrations.hl7v2.rows import SCHEMAS, LinkRow, ObservationRow, Rows
from integrations.hl7v2.segments import messages

BATCH = 20_000  # rows


def stage_oru(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], patients_of: PatientsOf, *, root: Path | None = None
) -> dict[str, str]:
    """Read the files once and return the temporary view of staged rows of each table; they are about `patients_of`.

    `record_file` is the path below `root`, without root the bare name; `record_line` is the segment, from 1.
    """
    for table in SCHEMAS:
        _create(connection, table)
    rows = Rows()
    for path in files:
        name = path.relative_to(root).as_posix() if root else path.name
        for first, message in messages(path):
            read_message(name, first, message, patients_of, rows)
            if len(rows.observation) >= BATCH or len(rows.patient_link) >= BATCH:
                _keep(connection, rows)
    _keep(connection, rows)
    return {table: f"staged_{table}" for table in SCHEMAS}


def _create(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Make an empty table and its view: other doors give views of that name, and only a view replaces a view."""
    _with_rows(connection, SCHEMAS[table].empty_table(), f"create or replace temp table oru_{table} as from oru_rows")
    connection.execute(f"create or replace temp view staged_{table} as from oru_{table}")


def _keep(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Move the rows gathered so far into their tables."""
    _insert(connection, "observation", rows.observation)
    _insert(connection, "patient_link", rows.patient_link)
    rows.observation.clear()
    rows.patient_link.clear()


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[ObservationRow] | Sequence[LinkRow]
) -> None:
    if rows:
        columns: Iterable[tuple[object, ...]] = zip(*rows, strict=True)
        schema = SCHEMAS[table]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        _with_rows(connection, pa.table(arrays, schema=schema), f"insert into oru_{table} from oru_rows")


def _with_rows(connection: duckdb.DuckDBPyConnection, rows: pa.Table, statement: str) -> None:
    """Run a statement that reads `oru_rows`."""
    connection.register("oru_rows", rows)
    connection.execute(statement)
    connection.unregister("oru_rows")
