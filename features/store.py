"""The feature store: compute the views for a spine, keep them, and read them back as of.

Rows are keyed (encounter_id, prediction_time) and lie as Parquet in one folder per view and version of its SQL.
Training and scoring read them by the same call, an equality join; Feast's own join is its oracle. A row counts for its
own prediction_time only, and of two rows of one key the one of the newer snapshot.
"""

import hashlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from string import Template
from typing import Any

import duckdb
import pyarrow as pa
import yaml

from features.definitions import VIEWS, check_features, feast_objects, view, view_folder, view_names
from features.kept_rows import kept_rows
from features.online import newest_rows, not_older, online_rows
from features.parquet_files import drop_covered, replace_file, write_view
from features.spine import check_read_back, check_spine, with_features
from features.stale import Changes, stale_rows
from integrations.duck import connect
from integrations.errors import NotInOrder

FEATURE_STORE_YAML = Path(__file__).resolve().parent / "feature_store.yaml"
_FEAST = threading.Lock()  # Feast's DuckDB is one connection for the process


class FeatureStore:
    """The features under one folder: offline/, online.db and Feast's registry."""

    def __init__(self, folder: Path, views: Path = VIEWS, *, feeds: str = "") -> None:
        """`feeds` names what contracts say of the feeds: under another clock or authority, features are others."""
        self.folder, self.views, self.offline = folder, views, folder / "offline" / feeds

    def view_versions(self, views: Sequence[str]) -> dict[str, str]:
        """Return the version of each view's SQL, as a score keeps it."""
        return {name: view(name, self.views).version for name in views}

    def stale(
        self, connection: duckdb.DuckDBPyConnection, views: Sequence[str], spine: pa.Table, changes: Changes
    ) -> dict[str, pa.Table]:
        """Return for each view the rows of a spine that it must compute; see features/stale.py."""
        check_spine(spine)
        folders = {name: view_folder(self.offline, view(name, self.views)) for name in views}
        return {
            name: stale_rows(connection, sorted(folder.glob("*.parquet")), spine, changes)
            for name, folder in folders.items()
        }

    def compute(
        self,
        connection: duckdb.DuckDBPyConnection,
        views: Sequence[str],
        spine: pa.Table,
        *,
        name: str,
        snapshot_id: int,
    ) -> dict[str, int]:
        """Run the views for a spine and keep the rows, instead of those kept under this name or for a part of it.

        The canonical relations of the snapshot are open in the connection; rows of a newer snapshot win over these.
        Raises NotInOrder when a view does not give one row per spine row.
        """
        check_spine(spine)
        written = {}
        for each in (view(name, self.views) for name in views):
            path = view_folder(self.offline, each) / f"{name}.parquet"
            written[each.name] = write_view(connection, each, spine, path, snapshot_id=snapshot_id)
            drop_covered(connection, path)
        return written

    def read(
        self, features: Sequence[str], spine: pa.Table, connection: duckdb.DuckDBPyConnection | None = None
    ) -> pa.Table:
        """Return the spine's rows and columns, in its order, with these "view:feature"; null is not measured.

        Reads by equality on stay and prediction_time, in the connection given, else in one of its own. Raises
        NotInOrder when a row of a view is missing or belongs to another prediction_time.
        """
        views = self._asked(features, spine)
        if spine.num_rows == 0:
            return with_features(spine, features, None)
        if connection is None:
            with closing(connect(self.folder / "tmp")) as own:
                return self._equality(own, views, features, spine)
        return self._equality(connection, views, features, spine)

    def read_through_feast(self, features: Sequence[str], spine: pa.Table) -> pa.Table:
        """Return what `read` returns by Feast's point-in-time join: the oracle against which `read` is tested.

        It costs several times the equality join (docs/decisions/0021), so nothing but tests and benches calls it.
        """
        views = self._asked(features, spine)
        if spine.num_rows == 0:
            return with_features(spine, features, None)
        with _feast_alone():
            rows = self._historical([*features, *(f"{name}:feature_prediction_time" for name in views)], spine)
        check_read_back(rows, spine, views)
        return with_features(spine, features, rows)

    def materialize(self, as_of: datetime, views: Sequence[str], *, window: timedelta = timedelta(hours=24)) -> int:
        """Put the newest row of each stay in (as_of - window, as_of] online, and never an older one over a newer.

        Returns how many rows were written.
        """
        written = 0
        with _feast_alone():
            store = self._feast()
            for name in views:
                newest = newest_rows(view_folder(self.offline, view(name, self.views)), as_of, window)
                rows = not_older(store, name, newest)
                if rows.num_rows:
                    store.write_to_online_store(name, rows.to_pandas())
                written += rows.num_rows
        return written

    def online(self, features: Sequence[str], encounter_ids: Sequence[str]) -> pa.Table:
        """Return what the online store holds of these stays; null where it holds nothing."""
        check_features(tuple(features), self.views)
        with _feast_alone():
            return online_rows(self._feast(), features, encounter_ids)

    def _asked(self, features: Sequence[str], spine: pa.Table) -> tuple[str, ...]:
        """Check what is asked of the store, and return the views it draws on."""
        check_features(features, self.views)
        check_spine(spine)
        views = tuple(dict.fromkeys(reference.split(":")[0] for reference in features))
        for each in (view(name, self.views) for name in views if spine.num_rows):
            if not any(view_folder(self.offline, each).glob("*.parquet")):
                raise NotInOrder(f"no rows of view {each.name} at its present version", to_do="build features first")
        return views

    def _equality(
        self, connection: duckdb.DuckDBPyConnection, views: Sequence[str], features: Sequence[str], spine: pa.Table
    ) -> pa.Table:
        columns: dict[str, pa.ChunkedArray] = {}
        for each in (view(name, self.views) for name in views):
            wanted = [feature for name, _, feature in (f.partition(":") for f in features) if name == each.name]
            kept = kept_rows(connection, each, wanted, view_folder(self.offline, each), spine)
            columns |= zip(kept.column_names, kept.columns, strict=True)
        rows = pa.table(columns)
        check_read_back(rows, spine, views)
        return with_features(spine, features, rows)

    def _historical(self, features: list[str], spine: pa.Table) -> pa.Table:
        ibis: Any = import_module("ibis")
        entities = pa.table(
            {
                "encounter_id": spine["encounter_id"],
                "event_timestamp": spine["prediction_time"],
                "spine_row": pa.array(range(spine.num_rows), pa.int64()),
            }
        )
        store = self._feast()
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

    def _feast(self) -> Any:
        """Open Feast, with the registry brought in line when the views have changed."""
        from feast import FeatureStore as Feast
        from feast import RepoConfig

        text = Template(FEATURE_STORE_YAML.read_text(encoding="utf-8")).substitute(ROUNDS_FEATURES=str(self.folder))
        settings = yaml.safe_load(text)
        names = view_names(self.views)
        stamp = hashlib.sha256(f"{text}{self.offline}{self.view_versions(names)}".encode()).hexdigest()
        stamp_file = self.folder / "registry.sha256"
        if not stamp_file.exists() or stamp_file.read_text() != stamp:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self.folder / f"registry.{os.getpid()}.tmp"
            Feast(config=RepoConfig(**{**settings, "registry": str(fresh)}, repo_path=self.folder)).apply(
                feast_objects(names, self.offline, self.views)
            )
            replace_file(fresh, Path(settings["registry"]))
            fresh.write_text(stamp)
            replace_file(fresh, stamp_file)
        return Feast(config=RepoConfig(**settings, repo_path=self.folder))


@contextmanager
def _feast_alone() -> Iterator[None]:
    """One at a time, and deaf to what Feast and ibis say of their own use of older interfaces."""
    with _FEAST, warnings.catch_warnings():
        import_feast()  # its import sets filters of its own, so it comes before ours
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


def import_feast() -> None:
    """Import Feast without typeguard, for which it rewrites its own code at each start: 5 CPU seconds become 2."""
    if "feast" in sys.modules:
        return
    typeguard: Any = import_module("typeguard")
    checked = typeguard.typechecked
    typeguard.typechecked = lambda target: target
    try:
        import_module("feast")
    finally:
        typeguard.typechecked = checked
