"""A snapshot of the lake as relations: every version of every fact, and until when it was the last one known.

A result that came twice for one person is seen once; see copies.py.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from integrations.copies import VERSION, find_copies
from integrations.duck import quoted
from integrations.identity import bucket_sql, find_fillers, make_same_person, work_buckets
from integrations.tables import DUCKDB_TYPES, HEAD, TABLES, TAIL, VERSION_ORDER, Table

IDENTITY_TABLES = ("patient", "patient_link")


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What SQL may ask about a feed: its site, its clock, how late it may be, and when it went live."""

    source: str
    site_id: str
    time_zone: str
    lateness: timedelta
    go_live_at: datetime | None = None
    is_date_shifted: bool = False  # every patient's dates are moved: "now" is after all of them
    is_authoritative_for: tuple[str, ...] = ()
    tables: tuple[str, ...] = tuple(TABLES)  # what it may bring: of another table nothing is known, which is not zero
    not_told: tuple[str, ...] = ()  # what it does not tell of them, as encounter:emergency


@dataclass(frozen=True)
class WorkBuckets:
    """Whole persons: those who work in these of `count` buckets, which are those of the lake or slices of them."""

    count: int  # a multiple of the lake's bucket_count, so the files of a slice are those of one bucket
    numbers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Linked:
    """What only the links of all patients tell: which identifiers are fillers, and who works in another bucket.

    moved: patient_id, work_bucket, of those who work elsewhere than they lie. gathered: the files in which the facts of
    those lie once more, by table and work bucket; None: they are looked for in every bucket in which they may lie.
    """

    filler: pa.Table
    moved: pa.Table
    gathered: Mapping[tuple[str, int], Sequence[str]] | None = None


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


def open_relations(connection: duckdb.DuckDBPyConnection, reading: Reading, feeds: Iterable[Feed]) -> None:
    """Make the relations of a snapshot: the canonical tables with superseded_at, same_person and feed."""
    feeds = list(feeds)
    count = reading.buckets.count if reading.buckets else 1
    linked = reading.linked or find_linked(connection, reading.files.get("patient_link", ()), count)
    _keep(connection, "filler", linked.filler)
    _keep(connection, "work_bucket", linked.moved)
    lie_in = _lie_in(connection, reading, linked)
    for name in with_identity(reading.tables):
        gathered = _gathered_files(reading, linked, name)
        _read_files(connection, TABLES[name], _files_of_buckets(reading, name, lie_in), gathered)
        if name == "observation":
            find_copies(connection, [feed.source for feed in feeds if name in feed.is_authoritative_for])
        _replace(connection, name, _as_of_sql(TABLES[name], reading), materialize=reading.materialize)
        if name == IDENTITY_TABLES[-1]:
            make_same_person(connection)
    _make_feed(connection, feeds)


def with_identity(tables: Sequence[str]) -> list[str]:
    """Return the tables in the order in which they are made: those of identity come first, asked for or not."""
    return [*IDENTITY_TABLES, *(name for name in tables if name not in IDENTITY_TABLES)]


def open_links(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    """Make every_patient_link, which is of all patients, and filler."""
    _read_files(connection, TABLES["patient_link"], files)
    find_fillers(connection, "every_patient_link")


def find_linked(connection: duckdb.DuckDBPyConnection, files: Sequence[str], work_bucket_count: int) -> Linked:
    """Read the links of all patients; with one work bucket nobody works elsewhere."""
    open_links(connection, files)
    moved = work_buckets(connection, work_bucket_count, "every_patient_link")
    return Linked(filler=connection.sql("from filler").to_arrow_table(), moved=moved)


def _keep(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("kept_rows", rows)
    connection.execute(f"create or replace temp table {name} as from kept_rows")
    connection.unregister("kept_rows")


def gather(
    connection: duckdb.DuckDBPyConnection,
    files: Mapping[str, Sequence[str]],
    moved: pa.Table,
    folder: Path,
) -> Mapping[tuple[str, int], Sequence[str]]:
    """Lay the facts of those who work elsewhere than they lie into files by table and work bucket; return these.

    With a feed that knows its patients by a number of its own half of the facts lie elsewhere, in all buckets: each
    part would read the whole lake.
    """
    _keep(connection, "work_bucket", moved)
    gathered: dict[tuple[str, int], list[str]] = {}
    for name, its_files in files.items():
        if its_files and moved.num_rows:
            _read_files(connection, TABLES[name], its_files)
            connection.execute(
                f"copy (from every_{name} join work_bucket using (patient_id)) to {quoted(folder / name)} "
                "(format parquet, compression zstd, compression_level 1, partition_by (work_bucket))"
            )
    for file in sorted(folder.glob("*/*/*.parquet")):
        key = (file.parent.parent.name, int(file.parent.name.removeprefix("work_bucket=")))
        gathered.setdefault(key, []).append(str(file))
    return gathered


def _gathered_files(reading: Reading, linked: Linked, table: str) -> list[str] | None:
    if linked.gathered is None or reading.buckets is None:
        return None
    return [file for number in reading.buckets.numbers for file in linked.gathered.get((table, number), ())]


def _lie_in(connection: duckdb.DuckDBPyConnection, reading: Reading, linked: Linked) -> set[int]:
    """The buckets of the lake in which the facts of the work buckets lie, but for those that are gathered."""
    if reading.buckets is None:
        return set()
    lies_in = bucket_sql("patient_id", reading.bucket_count)
    wanted = list(reading.buckets.numbers)
    if linked.gathered is not None:
        return {bucket % reading.bucket_count for bucket in wanted}
    moved = connection.execute(
        f"select distinct {lies_in} from work_bucket where work_bucket in $wanted", {"wanted": wanted}
    )
    return {bucket % reading.bucket_count for bucket in wanted} | {bucket for (bucket,) in moved.fetchall()}


def _files_of_buckets(reading: Reading, table: str, lie_in: Collection[int]) -> list[str]:
    files = reading.files.get(table, ())
    if reading.buckets is None:
        return list(files)
    folders = {f"bucket={bucket}" for bucket in lie_in}
    return [file for file in files if Path(file).parent.name in folders]


def _read_files(
    connection: duckdb.DuckDBPyConnection, table: Table, files: Sequence[str], gathered: Sequence[str] | None = None
) -> None:
    """Make every_<table>: the rows as they lie in the files; those of who works elsewhere as they are gathered."""
    columns = ", ".join(f'"{column.name}"' for column in table.all_columns)
    sql = [_from_files(columns, files, "hive_partitioning = true, hive_types = {'bucket': integer}")] if files else []
    if gathered is not None:
        sql = [f"{each} anti join work_bucket using (patient_id)" for each in sql]
        sql += [_from_files(columns, gathered, "hive_partitioning = false")] if gathered else []
    if not sql:
        empty = ", ".join(f'null::{DUCKDB_TYPES[column.kind]} as "{column.name}"' for column in table.all_columns)
        sql = [f"select {empty} where false"]
    _replace(connection, f"every_{table.name}", " union all ".join(sql), materialize=False)


def _from_files(columns: str, files: Sequence[str], hive: str) -> str:
    listed = ", ".join(quoted(file) for file in files)
    return f"select {columns} from read_parquet([{listed}], {hive})"


def _as_of_sql(table: Table, reading: Reading) -> str:
    """Return the SQL of a table with superseded_at.

    Few keys have a second version, so only those are sorted; keys are compared by hash, and two keys of one hash are
    merely sorted in vain. A fact that moves to another patient is withdrawn of the former one by the same record.
    """
    where = " and ".join(_conditions(table, reading)) or "true"
    by_work_bucket = "" if reading.buckets is None else "left join work_bucket using (patient_id)"
    columns = {name: f'"{name}"' for name in _column_names(table, reading)} | {"superseded_at": "superseded_at"}
    with_copies = ""
    if table.name == "observation":
        columns["available_at"] = "greatest(available_at, seen_from) as available_at"  # null is no limit
        columns["superseded_at"] = "least(superseded_at, seen_until) as superseded_at"
        with_copies = f"left join copy using ({VERSION})"
    return f"""
    with repeated as (
        select hash({table.key}) as key_hash
        from every_{table.name}
        group by key_hash
        having count(*) > 1
    ),
    known as (
        select *, timestamptz 'infinity' as superseded_at
        from every_{table.name}
        where hash({table.key}) not in (from repeated)
        union all
        select
            *,
            lead(available_at, 1, timestamptz 'infinity') over (
                partition by {table.key}
                order by {VERSION_ORDER}
            ) as superseded_at
        from every_{table.name}
        where hash({table.key}) in (from repeated)
    )
    select {", ".join(columns.values())}
    from known
    {by_work_bucket}
    {with_copies}
    where {where}
    """


def _conditions(table: Table, reading: Reading) -> list[str]:
    conditions = []
    if reading.buckets is not None:
        count, wanted = reading.buckets.count, ", ".join(str(int(each)) for each in reading.buckets.numbers)
        own = "bucket" if count == reading.bucket_count else bucket_sql("patient_id", count)
        conditions.append(f"coalesce(work_bucket, {own}) in ({wanted})" if wanted else "false")
    if reading.codes is not None and table.name == "observation":
        wanted = ", ".join(quoted(code) for code in reading.codes)
        conditions.append(f"code in ({wanted})" if wanted else "false")
    return conditions


def _column_names(table: Table, reading: Reading) -> list[str]:
    every = [column.name for column in table.all_columns]
    if table.name not in reading.columns:
        return every
    wanted = {column.name for column in (*HEAD, *TAIL)} | {table.key} | set(reading.columns[table.name])
    return [name for name in every if name in wanted]


def _replace(connection: duckdb.DuckDBPyConnection, name: str, sql: str, *, materialize: bool) -> None:
    """Make a relation anew; what had the name before, table or view, goes."""
    found = connection.execute("select table_type from information_schema.tables where table_name = ?", [name])
    for (kind,) in found.fetchall():
        connection.execute(f"drop {'view' if kind == 'VIEW' else 'table'} {name}")
    connection.execute(f"create temp {'table' if materialize else 'view'} {name} as {sql}")


def _make_feed(connection: duckdb.DuckDBPyConnection, feeds: Iterable[Feed]) -> None:
    connection.execute(
        "create or replace temp table feed (source varchar, site_id varchar, time_zone varchar, lateness interval, "
        "go_live_at timestamptz, is_date_shifted boolean, tables varchar[], not_told varchar[])"
    )
    for feed in feeds:
        connection.execute(
            "insert into feed values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                feed.source,
                feed.site_id,
                feed.time_zone,
                feed.lateness,
                feed.go_live_at,
                feed.is_date_shifted,
                list(feed.tables),
                list(feed.not_told),
            ],
        )
