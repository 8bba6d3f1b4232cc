"""What has come into the lake since a snapshot: of whom, from when on it counts, and by which snapshot it came.

The log of each Delta table says which file came by which version, so only the new files are read.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa

from integrations.duck import quoted
from integrations.identity import find_heads
from integrations.lake import Lake

Snapshots = Mapping[int, Mapping[str, int]]  # snapshot_id -> versions of the tables
CHANGES = pa.schema(
    [("patient_id", pa.string()), ("available_at", pa.timestamp("us", "UTC")), ("snapshot_id", pa.int64())]
)

# Of those who were asked for, all whose person a link of one of them may change.
LINKED = """
create or replace temp table linked as
with wanted as (
    select distinct head
    from head_of
    semi join asked using (patient_id)
)
select patient_id, head as person
from head_of
semi join wanted using (head)
"""
CAME = """
with fact as (
    select patient_id, snapshot_id, min(available_at) as available_at
    from read_parquet([{files}], filename = true, hive_partitioning = false) as new
    join arrived on arrived.file = new.filename
    group by patient_id, snapshot_id
),

of_person as (
    select linked.person, fact.snapshot_id, min(fact.available_at) as available_at
    from fact
    join linked using (patient_id)
    group by linked.person, fact.snapshot_id
)

select patient_id, available_at, snapshot_id
from fact
anti join linked using (patient_id)
union all
select linked.patient_id, of_person.available_at, of_person.snapshot_id
from of_person
join linked using (person)
"""


def changes(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    snapshots: Snapshots,
    tables: Sequence[str],
    patient_ids: pa.ChunkedArray,
) -> pa.Table | None:
    """Return patient_id, snapshot_id and available_at (the earliest) of the facts that came after the first snapshot.

    Of these patients and of everyone with whom they ever shared an identifier, whose facts are told of them all; rows
    of others may be among them. `snapshots` are the one that is looked back to and every later one up to the newest
    that counts; `tables` are those that matter. None where a file or a log is gone: then nobody can tell.
    """
    try:
        every = [each for table in tables for each in _arrived(lake, table, snapshots)]
    except FileNotFoundError:
        return None
    if not every:
        return CHANGES.empty_table()
    connection.register("asked", pa.table({"patient_id": patient_ids}))
    try:
        lake.open_links(connection, snapshots[max(snapshots)])
        find_heads(connection, "every_patient_link", with_fillers=True)
        connection.execute(LINKED)
        arrived = _of_buckets(every, _buckets(connection, lake))
        if not arrived.num_rows:
            return CHANGES.empty_table()
        connection.register("arrived", arrived)
        files = ", ".join(quoted(file) for file in arrived["file"].to_pylist())
        return connection.sql(CAME.format(files=files)).to_arrow_table().cast(CHANGES)
    finally:
        for name in ("asked", "arrived"):
            connection.unregister(name)


def _buckets(connection: duckdb.DuckDBPyConnection, lake: Lake) -> set[int]:
    """The buckets in which the facts of `asked` and `linked` lie."""
    people = "(from asked union all select patient_id from linked)"
    found = connection.execute(f"select distinct {lake.bucket_sql('patient_id')} from {people}").fetchall()
    return {bucket for (bucket,) in found}


def _of_buckets(arrived: Sequence[tuple[Path, int]], buckets: Collection[int]) -> pa.Table:
    """The files that lie in these buckets, each with the snapshot that brought it."""
    found = [(file, by) for file, by in arrived if int(file.parent.name.removeprefix("bucket=")) in buckets]
    return pa.table({"file": [str(file) for file, _ in found], "snapshot_id": [by for _, by in found]})


def _arrived(lake: Lake, table: str, snapshots: Snapshots) -> list[tuple[Path, int]]:
    """The files that came into a table after the first snapshot, each with the snapshot that brought it."""
    folder, found = lake.root / table, dict[str, int]()
    versions = [(snapshot_id, snapshots[snapshot_id].get(table, 0)) for snapshot_id in sorted(snapshots)]
    for (_, before), (snapshot_id, version) in pairwise(versions):
        for each in range(before + 1, version + 1):
            for action, path in _actions(folder, each):
                if action == "add":
                    found[path] = snapshot_id
                else:
                    found.pop(path, None)  # a commit that no snapshot names was undone
    for path in found:
        if not (folder / path).exists():
            raise FileNotFoundError(folder / path)
    return [(folder / path, snapshot_id) for path, snapshot_id in found.items()]


def _actions(folder: Path, version: int) -> Iterator[tuple[str, str]]:
    """Which files one commit added with new rows, or took out with them; what only puts files together does neither."""
    log = folder / "_delta_log" / f"{version:020d}.json"
    for line in log.read_text(encoding="utf-8").splitlines():
        for action, said in json.loads(line).items():
            if action in ("add", "remove") and said["dataChange"]:
                yield action, unquote(said["path"])
