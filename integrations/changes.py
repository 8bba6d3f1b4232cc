"""What has come into the lake since a snapshot: of whom, from when on it counts, and by which snapshot it came.

The log of each Delta table says which file came by which version, so only the new files are read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
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

FACT = """
create or replace temp table fact as
select patient_id, snapshot_id, min(available_at) as available_at
from read_parquet([{files}], filename = true, hive_partitioning = false) as new
join arrived on arrived.file = new.filename
group by patient_id, snapshot_id
"""
# All who ever shared an identifier with one of `near`, one step further.
NEARER = """
create or replace temp table nearer as
with identifier as (
    select distinct system, value
    from every_patient_link
    semi join near using (patient_id)
)
select distinct patient_id
from every_patient_link
semi join identifier using (system, value)
anti join near using (patient_id)
"""
CAME = """
with of_person as (
    select head_of.head, fact.snapshot_id, min(fact.available_at) as available_at
    from fact
    join head_of using (patient_id)
    group by head_of.head, fact.snapshot_id
)

select patient_id, available_at, snapshot_id
from fact
anti join head_of using (patient_id)
union all
select head_of.patient_id, of_person.available_at, of_person.snapshot_id
from of_person
join head_of using (head)
"""


def changes(
    connection: duckdb.DuckDBPyConnection, lake: Lake, snapshots: Snapshots, tables: Sequence[str]
) -> pa.Table | None:
    """Return patient_id, snapshot_id and available_at (the earliest) of the facts that came after the first snapshot.

    The facts of a patient are told of everyone with whom the patient ever shared an identifier. `snapshots` are the one
    that is looked back to and every later one up to the newest that counts; `tables` are those that matter. None where
    a file or a log is gone: then nobody can tell.
    """
    try:
        arrived = [each for table in tables for each in _arrived(lake, table, snapshots)]
    except FileNotFoundError:
        return None
    if not arrived:
        return CHANGES.empty_table()
    files = [str(file) for file, _ in arrived]
    connection.register("arrived", pa.table({"file": files, "snapshot_id": [by for _, by in arrived]}))
    try:
        connection.execute(FACT.format(files=", ".join(quoted(file) for file in files)))
    finally:
        connection.unregister("arrived")
    lake.open_links(connection, snapshots[max(snapshots)])
    connection.execute("create or replace temp table near as select distinct patient_id from fact")
    while connection.execute(f"{NEARER}; select count(*) from nearer").fetchall() != [(0,)]:
        connection.execute("insert into near from nearer")
    find_heads(connection, "(from every_patient_link semi join near using (patient_id))", with_fillers=True)
    return connection.sql(CAME).to_arrow_table().cast(CHANGES)


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
