"""The Parquet files of the lake: written by DuckDB, by bucket and extract, and safe on disk before any commit."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import duckdb

from integrations.duck import quoted
from integrations.identity import bucket_sql
from integrations.tables import DUCKDB_TYPES, Table

if TYPE_CHECKING:
    from deltalake.transaction import AddAction, RemoveAction

MANY_ROWS = 100_000  # from here on a COPY for each bucket costs less than one that partitions; below, twice as much
PARQUET = "format parquet, compression zstd, compression_level 1, return_stats"


def copy_by_bucket(
    connection: duckdb.DuckDBPyConnection, table: Table, select_sql: str, *, folder: Path, bucket_count: int, name: str
) -> list[tuple[Path, int]]:
    """Write rows as Parquet files below `folder`; return files and row counts. No reader sees them yet."""
    given = {column: str(kind) for column, kind, *_ in connection.execute(f"describe {select_sql}").fetchall()}
    # DuckDB writes an ENUM as text, and three times as fast.
    columns = ", ".join(
        f'"{column.name}"'
        if given[column.name].startswith("ENUM")
        else f'"{column.name}"::{DUCKDB_TYPES[column.kind]} as "{column.name}"'
        for column in table.all_columns
        if column.name != "bucket"
    )
    buckets = _large_buckets(connection, select_sql) if "bucket" in given else []
    if buckets:
        copies = [_copy_of_bucket(bucket, columns, select_sql, folder, name) for bucket in buckets]
    else:
        bucket = "bucket" if "bucket" in given else bucket_sql("patient_id", bucket_count)
        copies = [
            f"""
            copy (select {columns}, {bucket} as bucket from ({select_sql}))
            to {quoted(folder)}
            ({PARQUET}, partition_by (bucket), append, filename_pattern {quoted(name + "-{uuid}")})
            """
        ]
    rows = [row for copy in copies for row in connection.execute(copy).fetchall()]
    written = [(Path(path), int(row_count)) for path, row_count, *_ in rows]
    for path, _ in written:
        path.chmod(0o600)
        fsync(path)
    for changed in {folder, *(path.parent for path, _ in written)}:
        changed.chmod(0o700)
        fsync(changed)
    return written


def _large_buckets(connection: duckdb.DuckDBPyConnection, select_sql: str) -> list[int]:
    """Return the buckets of many rows that know theirs; of few rows none: for them one COPY that partitions is best."""
    found = connection.execute(
        f"select bucket, sum(count(*)) over () from ({select_sql}) group by bucket order by bucket"
    ).fetchall()
    return [int(bucket) for bucket, row_count in found if row_count >= MANY_ROWS]


def _copy_of_bucket(bucket: int, columns: str, select_sql: str, folder: Path, name: str) -> str:
    target = folder / f"bucket={bucket}"
    target.mkdir(exist_ok=True, mode=0o700)
    return f"""
        copy (select {columns} from ({select_sql}) where bucket = {bucket})
        to {quoted(target / f"{name}-{uuid4()}.parquet")} ({PARQUET})
        """


def add_action(path: Path, folder: Path, row_count: int) -> "AddAction | RemoveAction":
    """Return the entry of the Delta log that makes a file part of its table."""
    from deltalake.transaction import AddAction

    return AddAction(
        path=path.relative_to(folder).as_posix(),
        size=path.stat().st_size,
        partition_values={"bucket": path.parent.name.removeprefix("bucket=")},
        modification_time=int(path.stat().st_mtime * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": row_count}),
    )


def fsync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are safe on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Wait until a folder and all below it are safe on disk."""
    for path in folder.rglob("*"):
        fsync(path)
    fsync(folder)
