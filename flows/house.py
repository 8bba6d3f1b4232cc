"""What every flow and command opens: settings, records, lake, features, registry, and the one clock."""

import atexit
import hashlib
import os
import re
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sqlalchemy import desc, select

from integrations.errors import Refused
from integrations.records import Records, open_records
from integrations.records import schema as s
from integrations.records.kept_head import FILE_NAME
from integrations.settings import Settings, load_settings

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from features.store import FeatureStore
    from integrations.contract import Contract
    from integrations.ingest import IngestPlaces
    from integrations.lake import Lake
    from integrations.reading import Linked, WorkBuckets
    from integrations.snapshot import Feed
    from models.artifacts import RegisteredModel
    from models.registry import Registry

R = TypeVar("R")
Part: TypeAlias = "WorkBuckets | None"  # of a snapshot; None: all of them
BYTES_PER_MB = 1_000_000
TIMES_IN_MEMORY = 20  # what a file of the lake comes to beside its bytes, opened and worked on, with room for more


@dataclass(frozen=True)
class Snapshot:
    """A set of table versions, as records name it."""

    snapshot_id: int
    versions: Mapping[str, int]


class House:
    """One installation: everything under one ROUNDS_HOME. Parts open at first use, so a reading command stays light."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._models: dict[tuple[str, int], RegisteredModel] = {}

    @cached_property
    def records(self) -> Records:
        self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return open_records(self.settings.records, self.settings.home / FILE_NAME)

    @cached_property
    def lake(self) -> "Lake":
        from integrations.lake import Lake

        return Lake(self.settings.lake, self.settings.bucket_count)

    @cached_property
    def store(self) -> "FeatureStore":
        from features.feast_places import FeastPlaces
        from features.store import FeatureStore

        online, registry = self.settings.online_store_url, self.settings.feature_registry_url
        places = FeastPlaces(
            online=self.settings.online_store,
            online_url=online.get_secret_value() if online else None,
            registry_url=registry.get_secret_value() if registry else None,
        )
        return FeatureStore(
            self.settings.features,
            places=places,
            feeds=_what_relations_are_made_of(),
        )

    @cached_property
    def registry(self) -> "Registry":
        from models.registry import Registry

        return Registry(self.settings.registry)

    def model(self, use_case: str, version: int) -> "RegisteredModel":
        """Load a version once every file of it is as it was when people signed it; it stays loaded in this house."""
        if (use_case, version) not in self._models:
            self._models[use_case, version] = self.registry.load(use_case, version, records=self.records)
        return self._models[use_case, version]

    def newest_snapshot(self) -> Snapshot:
        """The state of the lake that readers see. Raises Refused before the first ingest."""
        with self.records.read() as connection:
            row = connection.execute(select(s.snapshot).order_by(desc(s.snapshot.c.snapshot_id)).limit(1)).first()
        if row is None:
            raise Refused(
                "nothing has been ingested yet", where=str(self.settings.home), to_do="rounds ingest SOURCE --from PATH"
            )
        return Snapshot(row.snapshot_id, row.versions)

    def parts(self, snapshot: Snapshot) -> list[Part]:
        """Cut a snapshot into parts that fit in memory one by one; a small lake is one, [None]."""
        return self.lake.parts(snapshot.versions, self.settings.memory_limit_mb * BYTES_PER_MB // TIMES_IN_MEMORY)

    def buckets_of(self, part: Part) -> set[int] | None:
        """The buckets of the lake in which the persons of a part work; None: all."""
        return None if part is None else {number % self.settings.bucket_count for number in part.numbers}

    def open_snapshot(self, snapshot: Snapshot, part: Part = None) -> "duckdb.DuckDBPyConnection":
        """Open the canonical tables of a snapshot, or of a part of it, as relations; see integrations/snapshot.py.

        The newest one stays open in its thread: the flows of one round, run one after another, read it once.
        """
        key = (self.settings.home, snapshot.snapshot_id, part)
        if getattr(_OPEN, "key", None) != key:
            close_snapshot()
            _OPEN.connection = self._opened(snapshot, part)
            _OPEN.key = key
            atexit.unregister(close_snapshot)
            atexit.register(close_snapshot)  # a worker's process ends where no command of ours sees it
        connection: duckdb.DuckDBPyConnection = _OPEN.connection
        return connection

    def scratch(self) -> "duckdb.DuckDBPyConnection":
        """Open an empty DuckDB that reads the lake and the features, and nothing else."""
        from integrations.duck import connect, lock

        self.settings.temp.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = connect(self.settings.temp, memory_limit_mb=self.settings.memory_limit_mb * 2)
        lock(connection, self.settings.temp, self.settings.lake, self.settings.features)
        return connection

    def changes(self, snapshot: Snapshot, views: Sequence[str], since: int, *, sql: str = "") -> "pa.Table | None":
        """What has come into the tables of these views, and of other SQL, since a snapshot: of all its parts."""
        from features.definitions import view
        from integrations.changes import changes
        from integrations.snapshot import with_identity
        from integrations.tables import TABLES

        words = set(re.findall(r"\w+", " ".join([sql, *(view(name).sql for name in views)])))
        tables = with_identity([name for name in TABLES if name in words])

        def found() -> "pa.Table | None":
            wanted = select(s.snapshot).where(s.snapshot.c.snapshot_id.between(since, snapshot.snapshot_id))
            with self.records.read() as records, self.scratch() as connection:
                versions = {row.snapshot_id: row.versions for row in records.execute(wanted)}
                return changes(connection, self.lake, versions, tables)

        return self._once(snapshot, ("changes", since, *tables), found)

    def _opened(self, snapshot: Snapshot, part: Part) -> "duckdb.DuckDBPyConnection":
        connection = self.scratch()
        linked = None if part is None else self._linked(connection, snapshot, part.count)
        self.lake.open_snapshot(
            connection, snapshot.versions, buckets=part, feeds=feeds(), linked=linked, **asked_for()
        )
        return connection

    def _linked(self, connection: "duckdb.DuckDBPyConnection", snapshot: Snapshot, count: int) -> "Linked":
        """Who is linked to whom in a snapshot, and the facts that have moved, gathered as far as any SQL names them."""
        asked = asked_for()

        def found() -> "Linked":
            from integrations.only_one import own_folder

            folder, give_back = own_folder(self.settings.temp, "moved")
            with ExitStack() as undone:  # on a full disk, say, what was gathered so far goes
                undone.callback(give_back)
                linked = self.lake.find_linked(connection, snapshot.versions, count, gather_into=folder, **asked)
                undone.pop_all()
            weakref.finalize(linked, give_back)
            return linked

        return self._once(snapshot, ("linked", count, repr(asked)), found)

    def _once(self, snapshot: Snapshot, what: tuple[object, ...], find: Callable[[], R]) -> R:
        """Find what is the same for all parts of a snapshot once in this process; of others nothing is kept."""
        of_snapshot = (self.settings.home, tuple(sorted(snapshot.versions.items())))
        with _FINDING:
            for other in [key for key in _FOUND if key[0] != of_snapshot]:
                del _FOUND[other]
            if (of_snapshot, what) not in _FOUND:
                _FOUND[of_snapshot, what] = find()
            found: R = _FOUND[of_snapshot, what]
            return found


_OPEN = threading.local()
_FOUND: dict[tuple[tuple[Path, object], tuple[object, ...]], Any] = {}
_FINDING = threading.Lock()


def close_snapshot() -> None:
    """Let go of the snapshot that this thread keeps open, if any."""
    if getattr(_OPEN, "key", None) is not None:
        _OPEN.key = None
        _OPEN.connection.close()
        del _OPEN.connection


def open_house(settings: Settings | None = None) -> House:
    """Open the house that the environment names. What is written from here on is for its owner only."""
    os.umask(0o077)
    return House(settings or load_settings())


def clock() -> datetime:
    """The only place that asks what time it is: entry points call it once, rooms get the answer."""
    return datetime.now(UTC)


def at(as_of: datetime | None) -> datetime:
    """The instant a flow runs for: the one asked for, in UTC, or now."""
    return clock() if as_of is None else as_of.astimezone(UTC)


def _what_relations_are_made_of() -> str:
    """What the contracts say of the feeds, our own code that reads facts as of T, and the engine, in eight letters.

    Features that were kept of other relations than we would make today are others.
    """
    from integrations import copies, identity, reading, snapshot, tables

    digest = hashlib.sha256(repr(feeds()).encode())
    for module in (copies, identity, reading, snapshot, tables):
        digest.update(Path(module.__file__ or "").read_bytes())
    digest.update(version("duckdb").encode())
    return digest.hexdigest()[:8]


def asked_for() -> dict[str, Any]:
    """Which tables, and which columns of the largest one, any cohort, label or feature view names in its SQL."""
    from features.definitions import view, view_names
    from integrations.tables import OBSERVATION, TABLES
    from models.catalog import use_cases
    from models.cohort import STAY_NOW

    texts = [STAY_NOW, *(view(name).sql for name in view_names())]
    texts += [sql for case in use_cases().values() for sql in (case.cohort_sql, case.label_sql)]
    words = set(re.findall(r"\w+", " ".join(texts)))
    named = [column.name for column in OBSERVATION.columns if column.name in words]
    return {"tables": [name for name in TABLES if name in words], "columns": {OBSERVATION.name: named}}


def places(house: House) -> "IngestPlaces":
    """Where ingest reads and writes in this house."""
    from integrations.contract import SOURCES
    from integrations.ingest import IngestPlaces

    settings = house.settings
    return IngestPlaces(landing=settings.landing, lake=house.lake, sources=SOURCES, temp=settings.temp)


def feeds() -> list["Feed"]:
    """Every feed that has a contract, as SQL may ask about it."""
    from integrations.contract import known_sources, load_contract

    return [feed_of(contract) for contract in map(load_contract, known_sources())]


def feed_of(contract: "Contract") -> "Feed":
    """What SQL may ask about the feed of a contract."""
    from integrations.snapshot import Feed

    return Feed(
        source=contract.source,
        site_id=contract.site_id,
        time_zone=contract.time_zone,
        lateness=contract.lateness,
        go_live_at=contract.go_live_at,
        is_date_shifted=contract.is_date_shifted,
        is_authoritative_for=contract.is_authoritative_for,
        tables=tuple(contract.tables),
        not_told=tuple(f"{name}:{what}" for name, table in contract.tables.items() for what in table.not_told),
    )
