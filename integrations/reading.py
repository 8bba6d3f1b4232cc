"""Which rows of the lake's files a reader sees: of all patients, or of a part, whose facts may lie in other buckets."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from integrations.copies import VERSION
from integrations.duck import quoted
from integrations.identity import bucket_sql, find_fillers, work_buckets
from integrations.tables import DUCKDB_TYPES, HEAD, TABLES, TAIL, Table

IN_THE_LAKE = "hive_partitioning = true, hive_types = {'bucket': integer}"
GATHERED_ROWS = 20_480  # of a group: about what one bucket has of another where a hundred thousand have moved


@dataclass(frozen=True)
class WorkBuckets:
    """Whole persons: those who work in these of `count` buckets, which are those of the lake or slices of them."""

    count: int  # a multiple of the lake's bucket_count, so the files of a slice are those of one bucket
    numbers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Linked:
    """What only the links of all patients tell: which identifiers are fillers, and who works in another bucket.

    moved: patient_id, work_bucket, lies_in, of those who work elsewhere than they lie. gathered: the files of each
    table in which their facts lie once more; None: they are looked for in every bucket in which they may lie.
    """

    filler: pa.Table
    moved: pa.Table
    gathered: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What to read: the files of each table at its version, and what of them; `linked` as `find_linked` gives it."""

    files: Mapping[str, Sequence[str]]
    bucket_count: int
    buckets: WorkBuckets | None
    tables: tuple[str, ...]
    codes: tuple[str, ...] | None
    columns: Mapping[str, Sequence[str]]
    materialize: bool
    linked: Linked | None = None


def open_links(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    """Make every_patient_link, which is of all patients, and filler."""
    _read_files(connection, TABLES["patient_link"], files)
    find_fillers(connection, "every_patient_link")


def find_linked(connection: duckdb.DuckDBPyConnection, files: Sequence[str], work_bucket_count: int) -> Linked:
    """Read the links of all patients; with one work bucket nobody works elsewhere."""
    open_links(connection, files)
    moved = work_buckets(connection, work_bucket_count, "every_patient_link")
    return Linked(filler=connection.sql("from filler").to_arrow_table(), moved=moved)


def take_linked(connection: duckdb.DuckDBPyConnection, reading: Reading, linked: Linked) -> None:
    """Make filler and work_bucket: who has moved, as far as it matters to the work buckets that are read."""
    _keep(connection, "filler", linked.filler)
    _keep(connection, "work_bucket", _moved_in_part(reading, linked))


def open_rows(connection: duckdb.DuckDBPyConnection, reading: Reading, linked: Linked, table: Table) -> None:
    """Make every_<table>: all rows as they lie in the files, or those of the persons of the work buckets alone."""
    if reading.buckets is None:
        _read_files(connection, table, reading.files.get(table.name, ()))
    else:
        _read_part(connection, table, reading, linked)


def _keep(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("kept_rows", rows)
    connection.execute(f"create or replace temp table {name} as from kept_rows")
    connection.unregister("kept_rows")


def gather(
    connection: duckdb.DuckDBPyConnection,
    files: Mapping[str, Sequence[str]],
    columns: Mapping[str, Sequence[str]],
    moved: pa.Table,
    folder: Path,
) -> Mapping[str, Sequence[str]]:
    """Lay the facts of those who work elsewhere than they lie into files of their own, by table; return these.

    With a feed that knows its patients by a number of its own half of the facts lie elsewhere, in all buckets: each
    part would read the whole lake. Of each bucket there is one file, in the order of the work buckets, so that who
    reads one of these reads a few groups of rows of each.
    """
    _keep(connection, "work_bucket", moved)
    gathered: dict[str, list[str]] = {}
    for name, its_files in files.items():
        names = ", ".join(f'"{each}"' for each in _part_columns(TABLES[name], columns))
        for bucket, of_bucket in groupby(sorted(its_files) if moved.num_rows else (), lambda file: Path(file).parent):
            _read_files(connection, TABLES[name], list(of_bucket))
            file = folder / f"{name}-{bucket.name}.parquet"
            connection.execute(
                f"copy (select {names}, work_bucket from every_{name} join work_bucket using (patient_id) "
                f"order by work_bucket) to {quoted(file)} "
                f"(format parquet, compression zstd, compression_level 1, row_group_size {GATHERED_ROWS})"
            )
            gathered.setdefault(name, []).append(str(file))
    return gathered


def _moved_in_part(reading: Reading, linked: Linked) -> pa.Table:
    """Who of those who have moved matters to these work buckets: who works there, and who lies there."""
    if reading.buckets is None:
        return linked.moved
    wanted = pa.array(reading.buckets.numbers, pa.int32())
    works_here, lies_here = (pc.is_in(linked.moved[name], wanted) for name in ("work_bucket", "lies_in"))
    return linked.moved.filter(pc.or_(works_here, lies_here))


def _part_columns(table: Table, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The columns that a part needs of a table: those asked for, and those by which copies are found."""
    named = column_names(table, columns)
    needed = {*named, *re.findall(r"\w+", VERSION)} if table.name == "observation" else set(named)
    return [column.name for column in table.all_columns if column.name in needed]


def _own_files(connection: duckdb.DuckDBPyConnection, reading: Reading, linked: Linked, table: str) -> list[str]:
    """The files of the buckets in which the facts of the work buckets lie, but for those that are gathered."""
    wanted = list(reading.buckets.numbers) if reading.buckets else []
    lie_in = {bucket % reading.bucket_count for bucket in wanted}
    if linked.gathered is None:
        moved = connection.execute(
            f"select distinct {bucket_sql('patient_id', reading.bucket_count)} from work_bucket "
            "where work_bucket in $wanted",
            {"wanted": wanted},
        )
        lie_in |= {bucket for (bucket,) in moved.fetchall()}
    folders = {f"bucket={bucket}" for bucket in lie_in}
    return [file for file in reading.files.get(table, ()) if Path(file).parent.name in folders]


def _read_files(connection: duckdb.DuckDBPyConnection, table: Table, files: Sequence[str]) -> None:
    names = [column.name for column in table.all_columns]
    sql = _from_files(names, files, IN_THE_LAKE) if files else _no_rows(table, names)
    replace_relation(connection, f"every_{table.name}", sql, materialize=False)


def _read_part(connection: duckdb.DuckDBPyConnection, table: Table, reading: Reading, linked: Linked) -> None:
    files = _own_files(connection, reading, linked, table.name)
    names, sql = _part_columns(table, reading.columns), []
    lie_here = _from_files(names, files, IN_THE_LAKE) if files else ""
    if linked.gathered is None and files:
        works_in = f"coalesce(work_bucket, {_lies_in(reading)})"
        sql.append(f"{lie_here} left join work_bucket using (patient_id) where {_is_wanted(works_in, reading)}")
    elif files:
        sql.append(
            f"{lie_here} anti join work_bucket using (patient_id) where {_is_wanted(_lies_in(reading), reading)}"
        )
    if linked.gathered and table.name in linked.gathered:
        gathered = _from_files(names, linked.gathered[table.name], "hive_partitioning = false")
        sql.append(f"{gathered} where {_is_wanted('work_bucket', reading)}")
    replace_relation(
        connection, f"every_{table.name}", " union all ".join(sql) or _no_rows(table, names), materialize=False
    )


def _lies_in(reading: Reading) -> str:
    """The SQL of the bucket in which a row lies, numbered as the work buckets are."""
    count = reading.buckets.count if reading.buckets else 1
    return "bucket" if count == reading.bucket_count else bucket_sql("patient_id", count)


def _is_wanted(bucket: str, reading: Reading) -> str:
    wanted = ", ".join(str(int(each)) for each in reading.buckets.numbers) if reading.buckets else ""
    return f"{bucket} in ({wanted})" if wanted else "false"


def _from_files(names: Sequence[str], files: Sequence[str], hive: str) -> str:
    columns, listed = ", ".join(f'"{name}"' for name in names), ", ".join(quoted(file) for file in files)
    return f"select {columns} from read_parquet([{listed}], {hive})"


def _no_rows(table: Table, names: Sequence[str]) -> str:
    kinds = {column.name: DUCKDB_TYPES[column.kind] for column in table.all_columns}
    nulls = ", ".join(f'null::{kinds[name]} as "{name}"' for name in names)
    return f"select {nulls} where false"


def column_names(table: Table, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The columns asked for of a table, in order; all where none are named. Head, key and tail are always there."""
    every = [column.name for column in table.all_columns]
    if table.name not in columns:
        return every
    wanted = {column.name for column in (*HEAD, *TAIL)} | {table.key} | set(columns[table.name])
    return [name for name in every if name in wanted]


def replace_relation(connection: duckdb.DuckDBPyConnection, name: str, sql: str, *, materialize: bool) -> None:
    """Make a relation anew; what had the name before, table or view, goes."""
    found = connection.execute("select table_type from information_schema.tables where table_name = ?", [name])
    for (kind,) in found.fetchall():
        connection.execute(f"drop {'view' if kind == 'VIEW' else 'table'} {name}")
    connection.execute(f"create temp {'table' if materialize else 'view'} {name} as {sql}")
