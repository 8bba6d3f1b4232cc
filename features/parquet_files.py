"""Feature rows as Parquet: written whole under a temporary name, synced, then renamed."""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import duckdb
import pyarrow as pa

from features.definitions import View
from integrations.duck import quoted
from integrations.errors import NotInOrder

ROW_GROUP_ROWS = 20_480  # each thread keeps one group in memory, and a view may have some hundred columns


def write_view(
    connection: duckdb.DuckDBPyConnection, view: View, spine: pa.Table, path: Path, *, snapshot_id: int
) -> int:
    """Compute one view for a spine into one file. Returns the rows written, which equal the spine's.

    The created time is the prediction_time and a microsecond for each snapshot. So of two rows of one stay and time
    that lie in two files, the one of the newer snapshot is read, by Feast and by `kept_rows` alike: what an extract of
    history brought later, say, replaces what was kept before.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{uuid4().hex}.tmp")
    columns = ", ".join(f"v.{feature.name}::double as {feature.name}" for feature in view.features)
    try:
        with _relations(connection, view, spine):
            connection.execute(
                f"""
                copy (
                    select
                        s.patient_id,
                        v.encounter_id,
                        v.prediction_time,
                        v.prediction_time as feature_prediction_time,
                        v.prediction_time + to_microseconds({snapshot_id}) as created_at,
                        {columns}
                    from ({view.sql}) as v
                    join spine as s on s.encounter_id = v.encounter_id and s.prediction_time = v.prediction_time
                ) to {quoted(temporary)} (format parquet, compression zstd, row_group_size {ROW_GROUP_ROWS})
                """
            )
        _check_rows(connection, view, spine, temporary)
        replace_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return int(spine.num_rows)


def view_rows(connection: duckdb.DuckDBPyConnection, view: View, spine: pa.Table) -> pa.Table:
    """Compute one view for a spine in memory, as its SQL gives it: for stories and checks of a few rows."""
    with _relations(connection, view, spine):
        return connection.sql(view.sql).to_arrow_table()


def replace_file(temporary: Path, path: Path) -> None:
    """Make a file that was written whole visible under its name: owner only, and on disk before anyone sees it."""
    temporary.chmod(0o600)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _relations(connection: duckdb.DuckDBPyConnection, view: View, spine: pa.Table) -> Iterator[None]:
    """Open the spine and the reference tables that a view names."""
    tables = {"spine": spine, **{path.stem: _reference(path) for path in view.reference_tables}}
    for name, table in tables.items():
        connection.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            connection.unregister(name)


def _check_rows(connection: duckdb.DuckDBPyConnection, view: View, spine: pa.Table, path: Path) -> None:
    sql = f"select count(*), count(distinct row(encounter_id, prediction_time)) from read_parquet({quoted(path)})"
    row_count, key_count = connection.execute(sql).fetchall()[0]
    if not row_count == key_count == spine.num_rows:
        raise NotInOrder(
            f"{spine.num_rows} spine rows in, {row_count} rows of {key_count} keys out",
            where=f"{view.name}.sql",
            to_do="let the view return one row per spine row",
        )


def _reference(path: Path) -> pa.Table:
    """Read a reference table that lies beside the views; every column is text."""
    with path.open(encoding="utf-8", newline="") as file:
        return pa.Table.from_pylist(list(csv.DictReader(file)))
