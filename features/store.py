"""The feature store: compute the views for a spine, keep them, and read them back as of.

Rows are keyed (encounter_id, prediction_time) and lie as Parquet in one folder per view and version of its SQL.
Training and scoring read them by the same call, an equality join; Feast's own join is its oracle. A row counts for its
own prediction_time only, and of two rows of one key the one of the newer snapshot.
"""

import hashlib
import os
import shutil
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa

from features.definitions import (
    VIEWS,
    Service,
    check_features,
    feast_objects,
    feast_service,
    view,
    view_folder,
    view_names,
)
from features.feast_places import FeastPlaces, disconnect, disconnected, faults_of, import_feast
from features.kept_rows import Buckets, kept_file, kept_files, rows_of_views, span
from features.online import OnlineView, newest_rows, not_older, online_rows
from features.parquet_files import replace_file, write_view
from features.spine import check_read_back, check_spine, with_features
from features.stale import Changes, stale_rows
from integrations.duck import connect
from integrations.errors import NotInOrder
from integrations.only_one import Held, only_one

Reader: TypeAlias = duckdb.DuckDBPyConnection
PROJECT, ABOUT = "rounds", "what is known of a stay at prediction_time"
REGISTRY = "registry.db"
ROWS_AT_ONCE = 5_000  # written online between two looks at the lock
_FEAST = threading.Lock()  # Feast's DuckDB is one connection for the process


class FeatureStore:
    """The features under one folder: offline/, and unless they lie elsewhere, online.db and Feast's registry."""

    def __init__(
        self, folder: Path, views: Path = VIEWS, places: FeastPlaces = FeastPlaces(), *, feeds: str = ""
    ) -> None:
        """`feeds` names what contracts say of the feeds: under another clock or authority, features are others."""
        self.folder, self.views, self.places = folder, views, places
        self.offline = folder / "offline" / feeds
        self._feast: tuple[object, Any, Mapping[str, OnlineView]] | None = None
        self._checked: set[tuple[str, ...]] = set()

    def view_versions(self, views: Sequence[str]) -> dict[str, str]:
        """Return the version of each view's SQL, as a score keeps it."""
        return {name: view(name, self.views).version for name in views}

    def stale(
        self, connection: Reader, views: Sequence[str], spine: pa.Table, changes: Changes, *, buckets: Buckets = None
    ) -> dict[str, pa.Table]:
        """Return for each view the rows of a spine that it must compute; see features/stale.py.

        With `buckets`, here and below, those of the lake in which the persons of the spine work, files of other
        persons are not opened. Views whose files have the same names keep the same rows, and are looked at once.
        """
        check_spine(spine)
        found: dict[tuple[str, ...], pa.Table] = {}
        stale = {}
        for name in views:
            folder = view_folder(self.offline, view(name, self.views))
            files = kept_files(folder, *span(spine), buckets) if spine.num_rows else []
            names = tuple(file.name for file in files)
            if names not in found:
                found[names] = stale_rows(connection, files, spine, changes)
            stale[name] = found[names]
        return stale

    def compute(
        self,
        connection: Reader,
        views: Sequence[str],
        spine: pa.Table,
        *,
        name: str,
        snapshot_id: int,
        buckets: Buckets = None,
    ) -> dict[str, int]:
        """Run the views for a spine and keep the rows, instead of those kept under this name and these buckets.

        The name is of this spine and this snapshot alone: files of one name hold the same rows, whatever their view.
        The canonical relations of the snapshot are open in the connection; rows of a newer snapshot win over these.
        Raises NotInOrder when a view does not give one row per spine row.
        """
        check_spine(spine)
        if not spine.num_rows:
            return dict.fromkeys(views, 0)
        written = {}
        for each in (view(name, self.views) for name in views):
            path = kept_file(view_folder(self.offline, each), name, spine, buckets)
            written[each.name] = write_view(connection, each, spine, path, snapshot_id=snapshot_id)
        return written

    def read(
        self, features: Sequence[str], spine: pa.Table, connection: Reader | None = None, *, buckets: Buckets = None
    ) -> pa.Table:
        """Return the spine's rows and columns, in its order, with these "view:feature"; null is not measured.

        Reads by equality on stay and prediction_time, in the connection given, else in one of its own. Raises
        NotInOrder when a row of a view is missing or belongs to another prediction_time.
        """
        views = self._asked(features, spine, buckets)
        if spine.num_rows == 0:
            return with_features(spine, features, None)
        folders = {name: view_folder(self.offline, view(name, self.views)) for name in views}
        with closing(connect(self.folder / "tmp")) if connection is None else nullcontext(connection) as reader:
            rows = rows_of_views(reader, folders, features, spine, buckets)
        check_read_back(rows, spine, views)
        return with_features(spine, features, rows)

    def read_through_feast(self, features: Sequence[str], spine: pa.Table) -> pa.Table:
        """Return what `read` returns by Feast's point-in-time join: the oracle against which `read` is tested.

        It costs several times the equality join (docs/decisions/0021), so nothing but tests and benches calls it.
        """
        views = self._asked(features, spine)
        if spine.num_rows == 0:
            return with_features(spine, features, None)
        with self._opened() as (store, _):
            rows = self._historical(store, [*features, *(f"{name}:feature_prediction_time" for name in views)], spine)
        check_read_back(rows, spine, views)
        return with_features(spine, features, rows)

    def materialize(self, as_of: datetime, views: Sequence[str], *, window: timedelta = timedelta(hours=24)) -> int:
        """Put the newest row of each stay in (as_of - window, as_of] online, and never an older one over a newer.

        Whoever else writes to this online store waits meanwhile. Returns how many rows were written.
        """
        with self._opened() as (store, known), self._online_alone() as held:
            return sum(self._put_online(store, known[name], as_of, window, held) for name in views)

    def online(self, features: Sequence[str], encounter_ids: Sequence[str], *, as_of: datetime) -> pa.Table:
        """Return what the online store knows of these stays at as_of, and of each view <view>__feature_prediction_time.

        The row is of the stay's newest prediction_time. One that is older at as_of than the freshness of its view gives
        nulls, and so does one of later than as_of.
        """
        with self._opened() as (store, known):
            if tuple(features) not in self._checked:
                check_features(features, self.views)
                self._checked.add(tuple(features))
            names = dict.fromkeys(reference.partition(":")[0] for reference in features)
            return online_rows(store, features, {name: known[name] for name in names}, encounter_ids, as_of)

    def declare(self, service: Service) -> bool:
        """Tell Feast what a version takes, once: what is declared stays as it is. Returns whether it was new."""
        with self._opened() as (store, _), self._registry_alone():
            if service.name in {each.name for each in store.list_feature_services()}:
                return False
            views = {each.name: each for each in store.list_feature_views()}
            self._apply([feast_service(service, views)])
            self.close()
            return True

    def close(self) -> None:
        """Let go of what Feast keeps open: the registry as it was read, and its connection to the online store."""
        if self._feast is not None:
            disconnect(self._feast[1])
        self._feast = None
        self._checked.clear()

    def _asked(self, features: Sequence[str], spine: pa.Table, buckets: Buckets = None) -> tuple[str, ...]:
        """Check what is asked of the store, and return the views it draws on."""
        check_features(features, self.views)
        check_spine(spine)
        views = tuple(dict.fromkeys(reference.split(":")[0] for reference in features))
        for each in (view(name, self.views) for name in views if spine.num_rows):
            if not kept_files(view_folder(self.offline, each), *span(spine), buckets):
                raise NotInOrder(
                    f"no rows of view {each.name} at its present version for these times", to_do="build features first"
                )
        return views

    def _put_online(self, store: Any, each: OnlineView, as_of: datetime, window: timedelta, held: Held) -> int:
        newest = newest_rows(each, as_of, window)
        rows = not_older(store, each, newest)
        for start in range(0, rows.num_rows, ROWS_AT_ONCE):
            held()
            store.write_to_online_store(each.name, rows.slice(start, ROWS_AT_ONCE).to_pandas())
        return int(rows.num_rows)

    def _historical(self, store: Any, features: list[str], spine: pa.Table) -> pa.Table:
        ibis: Any = import_module("ibis")
        entities = pa.table(
            {
                "encounter_id": spine["encounter_id"],
                "event_timestamp": spine["prediction_time"],
                "spine_row": pa.array(range(spine.num_rows), pa.int64()),
            }
        )
        backend = ibis.duckdb.connect(memory_limit="1GB", temp_directory=str(self.folder / "tmp"), threads=2)
        ibis.set_backend(backend)
        try:
            rows: pa.Table = store.get_historical_features(
                entity_df=entities.to_pandas(), features=features, full_feature_names=True
            ).to_arrow()
        finally:
            ibis.options.default_backend = None
            backend.disconnect()  # else it stays open, with its memory, as long as the process
        return rows.sort_by("spine_row")

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Mapping[str, OnlineView]]]:
        """Feast with the views it knows, for one thread at a time; opened anew after a view or a server has failed."""
        with _feast_alone(), faults_of(self.places):
            state = sorted((each.name, each.stat().st_mtime_ns) for each in os.scandir(self.views))
            if self._feast is None or self._feast[0] != state:
                self.close()
                known = {name: self._online_view(name) for name in view_names(self.views)}
                self._feast = (state, self._open(), known)
            try:
                yield self._feast[1:]
            except Exception:
                self.close()
                raise

    def _online_view(self, name: str) -> OnlineView:
        each = view(name, self.views)
        folder = view_folder(self.offline, each)
        version = str(folder.relative_to(self.folder / "offline"))
        return OnlineView(name=name, folder=folder, version=version, freshness=each.freshness)

    def _open(self) -> Any:
        """Open Feast, with the registry brought in line when what we declare has changed."""
        from feast import Project

        objects = feast_objects(view_names(self.views), self.offline, self.views)
        said = [each.to_proto().SerializeToString(deterministic=True) for each in objects]
        stamp = hashlib.sha256(b"".join(said) + self.places.named.encode()).hexdigest()
        with self._registry_alone():
            if self._declared() != stamp:
                self._apply(objects, [Project(name=PROJECT, description=ABOUT, tags={"declared": stamp})])
            return self._connected()

    def _declared(self) -> str | None:
        """Return the stamp of what the registry holds; None before anything was declared."""
        if self.places.registry_url is None and not (self.folder / REGISTRY).exists():
            return None
        with disconnected(self._connected()) as store:
            stamps = [each.tags.get("declared") for each in store.list_projects() if each.name == PROJECT]
        return stamps[0] if stamps else None

    def _apply(self, *batches: list[Any]) -> None:
        """Change the registry: in Postgres as it stands; a file as a copy, which then takes its place whole."""
        registry = self.folder / REGISTRY
        fresh = self.folder / f"{REGISTRY}.{os.getpid()}.tmp"
        is_file = self.places.registry_url is None
        if is_file and registry.exists():
            shutil.copyfile(registry, fresh)
        with disconnected(self._connected({"registry": str(fresh)} if is_file else {})) as store:
            for objects in batches:
                store.apply(objects)
        if is_file:
            replace_file(fresh, registry)

    def _connected(self, instead: Mapping[str, Any] = MappingProxyType({})) -> Any:
        from feast import FeatureStore as Feast
        from feast import RepoConfig

        return Feast(config=RepoConfig(**{**self.places.config(self.folder), **instead}, repo_path=self.folder))

    def _online_alone(self) -> AbstractContextManager[Held]:
        return only_one("online store", url=self.places.online_url, file=self.folder / "online.lock")

    def _registry_alone(self) -> AbstractContextManager[Held]:
        return only_one("feature registry", url=self.places.registry_url, file=self.folder / "registry.lock")


@contextmanager
def _feast_alone() -> Iterator[None]:
    """One at a time, and deaf to what Feast and ibis say of their own use of older interfaces."""
    with _FEAST, warnings.catch_warnings():
        import_feast()  # its import sets filters of its own, so it comes before ours
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
