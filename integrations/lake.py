"""The lake: every canonical table as a Delta table, one folder each, partitioned by patient bucket.

DuckDB writes the Parquet files, one Delta commit makes them visible or not. A snapshot is a set of table versions;
which snapshot counts is for records to say, so a commit that no recorded snapshot names is undone by `restore_to`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.compute as pc

from integrations.durable import write_whole
from integrations.errors import NotInOrder, WrongUsage
from integrations.identity import bucket_of, bucket_sql
from integrations.lake_files import add_action, copy_by_bucket, fsync, fsync_tree
from integrations.reading import Linked, Reading, WorkBuckets, find_linked, gather, open_links
from integrations.snapshot import Feed, open_relations, with_identity
from integrations.tables import TABLES, Table

if TYPE_CHECKING:
    from deltalake import DeltaTable, Schema

DELTA_TYPES = {
    "text": "string",
    "number": "double",
    "flag": "boolean",
    "instant": "timestamp",
    "date": "date",
    "count": "integer",
}
# A stored score may ask for any old version, so the log is never cut.
KEEP_THE_LOG = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}


class Lake:
    """The canonical tables on disk. One writer at a time; any number of readers."""

    def __init__(self, root: Path, bucket_count: int) -> None:
        self.root, self.bucket_count = root, bucket_count
        self._opened: dict[str, DeltaTable] = {}
        self._files: dict[str, tuple[int, list[str]]] = {}

    def create(self) -> None:
        """Make every canonical table, empty; what exists stays. WrongUsage when bucket_count is not the lake's."""
        from deltalake import DeltaTable

        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fix_bucket_count()
        for table in TABLES.values():
            folder = self.root / table.name
            if not DeltaTable.is_deltatable(str(folder)):
                folder.mkdir(exist_ok=True, mode=0o700)
                DeltaTable.create(
                    str(folder), schema=_schema(table), partition_by=["bucket"], configuration={**KEEP_THE_LOG}
                )
                fsync_tree(folder)
        fsync(self.root)

    def bucket_sql(self, column: str) -> str:
        """The DuckDB expression that gives a patient's bucket: md5 of the id, the same in every version of DuckDB."""
        return bucket_sql(column, self.bucket_count)

    def write(self, connection: duckdb.DuckDBPyConnection, table: str, select_sql: str, *, extract_id: str) -> int:
        """Add the rows of `select_sql`, the table's columns by name, in one commit; return how many.

        Without a column bucket the rows are read once and spread. With one (made by bucket_sql) many rows are read once
        per bucket, which is cheaper over a table that is there already.
        """
        from deltalake.transaction import CommitProperties

        self._fix_bucket_count()
        folder = self.root / table
        written = copy_by_bucket(
            connection, TABLES[table], select_sql, folder=folder, bucket_count=self.bucket_count, name=extract_id
        )
        if not written:
            return 0
        delta = self._newest(table)
        delta.create_write_transaction(
            [add_action(path, folder, row_count) for path, row_count in written],
            "append",
            delta.schema(),
            ["bucket"],
            commit_properties=CommitProperties(custom_metadata={"extract_id": extract_id}),
        )
        fsync_tree(folder / "_delta_log")
        return sum(row_count for _, row_count in written)

    def versions(self) -> dict[str, int]:
        """The newest version of every table."""
        return {name: int(self._newest(name).version()) for name in TABLES}

    def restore_to(self, versions: Mapping[str, int]) -> list[str]:
        """Undo commits past the recorded `versions` (a table not named: past its creation); return the tables restored.

        A restored table has a new version with the files of the recorded one, and a second call finds nothing to do.
        """
        self._opened.clear()
        restored = []
        for name in TABLES:
            recorded = versions.get(name, 0)
            newest = self._newest(name)
            if newest.version() < recorded:
                raise NotInOrder(
                    f"table {name} is at version {newest.version()}, records name version {recorded}",
                    where=str(self.root / name),
                    to_do="restore the lake from the backup that belongs to these records",
                )
            if newest.version() == recorded:
                continue
            if set(newest.file_uris()) != set(self._at(name, recorded).file_uris()):
                newest.restore(recorded)
                fsync_tree(self.root / name / "_delta_log")
                restored.append(name)
        return restored

    def open_snapshot(
        self,
        connection: duckdb.DuckDBPyConnection,
        versions: Mapping[str, int],
        *,
        buckets: WorkBuckets | None = None,
        tables: Sequence[str] | None = None,
        codes: Sequence[str] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
        materialize: bool = True,
        feeds: Iterable[Feed] = (),
        linked: Linked | None = None,
    ) -> None:
        """Make the canonical tables at `versions` relations of `connection`, with same_person and feed.

        `buckets` are work buckets: whole persons, whatever ids they have. `codes` narrows observation to these LOINC
        codes. `columns` narrows a table to its head, key, tail and the columns named. A table without version is empty.
        `linked` spares who reads part after part to look for the links of all patients each time.
        """
        reading = Reading(
            files={name: self.files(name, version) for name, version in versions.items()},
            bucket_count=self.bucket_count,
            buckets=buckets,
            tables=tuple(TABLES if tables is None else tables),
            codes=None if codes is None else tuple(codes),
            columns={} if columns is None else columns,
            materialize=materialize,
            linked=linked,
        )
        open_relations(connection, reading, feeds)

    def find_linked(
        self,
        connection: duckdb.DuckDBPyConnection,
        versions: Mapping[str, int],
        work_bucket_count: int,
        *,
        tables: Sequence[str] = (),
        columns: Mapping[str, Sequence[str]] | None = None,
        gather_into: Path | None = None,
    ) -> Linked:
        """Read the links of all patients, for `open_snapshot` with work buckets of this count, part after part.

        With a folder, the facts of these tables that lie elsewhere than their person works are gathered there, with
        these columns as in `open_snapshot`.
        """
        links = [] if "patient_link" not in versions else self.files("patient_link", versions["patient_link"])
        linked = find_linked(connection, links, work_bucket_count)
        if gather_into is None:
            return linked
        files = {name: self.files(name, versions[name]) for name in with_identity(tables) if name in versions}
        return replace(linked, gathered=gather(connection, files, columns or {}, linked.moved, gather_into))

    def work_bucket(self, connection: duckdb.DuckDBPyConnection, versions: Mapping[str, int], patient_id: str) -> int:
        """Return the bucket in which a patient's person works."""
        moved = self.find_linked(connection, versions, self.bucket_count).moved
        found = moved["work_bucket"].filter(pc.equal(moved["patient_id"], patient_id)).to_pylist()
        return int(found[0]) if found else bucket_of(patient_id, self.bucket_count)

    def open_links(self, connection: duckdb.DuckDBPyConnection, versions: Mapping[str, int]) -> None:
        """Make every_patient_link and filler: who was ever linked to whom, for which no other table is read."""
        open_links(
            connection, self.files("patient_link", versions["patient_link"]) if "patient_link" in versions else ()
        )

    def parts(self, versions: Mapping[str, int], limit_bytes: int) -> list[WorkBuckets | None]:
        """Cut a snapshot into parts: work buckets whose files come to about `limit_bytes` together at most.

        A bucket that has more is cut into slices, and read once for each; so are the others then. The same snapshot and
        limit give the same parts. One that fits as a whole is [None], all buckets at once.
        """
        bytes_of = dict.fromkeys(range(self.bucket_count), 0)
        for name, version in versions.items():
            for file in map(Path, self.files(name, version)):
                bytes_of[int(file.parent.name.removeprefix("bucket="))] += file.stat().st_size
        if sum(bytes_of.values()) <= limit_bytes:
            return [None]
        slice_count = max(1, -(-max(bytes_of.values()) // limit_bytes))
        parts: list[list[int]] = [[]]
        size = 0.0
        for bucket, its_bytes in bytes_of.items():
            for number in range(bucket, self.bucket_count * slice_count, self.bucket_count):
                size += its_bytes / slice_count
                if parts[-1] and size > limit_bytes:
                    parts.append([])
                    size = its_bytes / slice_count
                parts[-1].append(number)
        return [WorkBuckets(self.bucket_count * slice_count, tuple(part)) for part in parts]

    def compact(self) -> dict[str, int]:
        """Merge the small files of every table into larger ones; return the new versions, which the caller records."""
        for name in TABLES:
            self._newest(name).optimize.compact()
            fsync_tree(self.root / name)
        return self.versions()

    def vacuum(self, keep: Iterable[Mapping[str, int]], *, retention_hours: int = 168) -> int:
        """Delete files that neither the newest version nor one of the snapshots in `keep` needs; return how many."""
        kept = list(keep)
        deleted = 0
        for name in TABLES:
            delta = self._newest(name)
            wanted = {int(delta.version()), *(versions[name] for versions in kept if name in versions)}
            deleted += len(
                delta.vacuum(
                    retention_hours=retention_hours,
                    dry_run=False,
                    enforce_retention_duration=False,
                    full=True,
                    keep_versions=sorted(wanted),
                )
            )
        return deleted

    def files(self, table: str, version: int) -> list[str]:
        """The Parquet files of one version of a table; those of the version asked for last are remembered."""
        of_version, files = self._files.get(table, (-1, []))
        if of_version != version:
            named = (Path(uri) for uri in self._at(table, version).file_uris())  # the folder comes URL-encoded
            files = sorted(str(self.root / table / uri.parent.name / uri.name) for uri in named)
            self._files[table] = (version, files)
        return list(files)

    def _newest(self, table: str) -> "DeltaTable":
        """Open a table at its newest version. It stays open, and reads only what is new of the log.

        A lake that is put back from a backup needs a new Lake.
        """
        from deltalake import DeltaTable

        if table in self._opened:
            self._opened[table].update_incremental()
        else:
            self._opened[table] = DeltaTable(str(self.root / table))
        return self._opened[table]

    def _at(self, table: str, version: int) -> "DeltaTable":
        """Open a table at a version, whether or not its newest can be read; what it gives is used up at once."""
        from deltalake import DeltaTable

        opened = self._opened.get(table)
        if opened is not None and opened.version() == version:
            return opened
        return DeltaTable(str(self.root / table), version=version)

    def _fix_bucket_count(self) -> None:
        path = self.root / "lake.json"
        if not path.exists():
            write_whole(path, json.dumps({"bucket_count": self.bucket_count}).encode())
        fixed = json.loads(path.read_text(encoding="utf-8"))["bucket_count"]
        if fixed != self.bucket_count:
            raise WrongUsage(
                f"bucket_count is {self.bucket_count}, but the lake was made with {fixed}",
                where=str(path),
                to_do=f"set bucket_count to {fixed}, or start with an empty ROUNDS_HOME",
            )


def _schema(table: Table) -> "Schema":
    from deltalake import Field, Schema
    from deltalake.schema import PrimitiveType

    return Schema([Field(column.name, PrimitiveType(DELTA_TYPES[column.kind])) for column in table.all_columns])
