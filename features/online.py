"""What the online store gets and gives: the newest row of each stay, never an older one over a newer.

Beside its features a row online says its prediction_time, the snapshot it was computed from, and the version of its
view's SQL and of the feeds. A row of another version is as good as none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.kept_rows import INSTANT, kept_files

OF_THE_ROW = ("feature_prediction_time_us", "feature_snapshot_id", "feature_view_version")


@dataclass(frozen=True, kw_only=True)
class OnlineView:
    """A view as the online store has it: its rows count at this version, and for as long as they are fresh."""

    name: str
    folder: Path  # where the rows of this version are kept offline
    version: str
    freshness: timedelta


def newest_rows(view: OnlineView, as_of: datetime, window: timedelta) -> pa.Table:
    """Return the newest row of each stay with prediction_time in (as_of - window, as_of], by the newest snapshot."""
    import pyarrow.dataset as ds

    files = [str(path) for path in kept_files(view.folder, as_of - window, as_of)]
    if not files:
        return pa.table({"encounter_id": pa.array([], pa.string()), "prediction_time": pa.array([], INSTANT)})
    time = pc.field("prediction_time")
    within = (time > pa.scalar(as_of - window, INSTANT)) & (time <= pa.scalar(as_of, INSTANT))
    rows = (
        ds.dataset(files)
        .to_table(filter=within)
        .sort_by([("encounter_id", "ascending"), ("prediction_time", "descending"), ("created_at", "descending")])
    )
    ids = rows["encounter_id"].to_pylist()
    rows = rows.filter(pa.array([index == 0 or ids[index - 1] != each for index, each in enumerate(ids)], pa.bool_()))
    # a row's created time is its prediction_time and a microsecond for each snapshot
    time_us = rows["prediction_time"].cast(INSTANT).cast(pa.int64())
    snapshots = pc.subtract(rows["created_at"].cast(INSTANT).cast(pa.int64()), time_us)
    versions = pa.array([view.version] * rows.num_rows, pa.string())
    for name, values in zip(OF_THE_ROW, (time_us, snapshots, versions), strict=True):
        rows = rows.append_column(name, values)
    return rows


def not_older(store: Any, view: OnlineView, rows: pa.Table) -> pa.Table:
    """Return the rows that are newer than what the online store holds of their stay, by time and then by snapshot."""
    if not rows.num_rows:
        return rows
    held = _held(store, [], {view.name: view}, rows["encounter_id"].to_pylist())
    time, before = rows["prediction_time"].cast(INSTANT), _time(held, view)
    snapshot_id = held[f"{view.name}__feature_snapshot_id"].cast(pa.int64())
    is_newer_snapshot = pc.greater(rows["feature_snapshot_id"], snapshot_id)
    is_later = pc.or_(pc.greater(time, before), pc.and_(pc.equal(time, before), is_newer_snapshot))
    return rows.filter(pc.or_(pc.fill_null(is_later, True), pc.invert(_is_ours(held, view))))


def online_rows(
    store: Any, features: Sequence[str], views: Mapping[str, OnlineView], encounter_ids: Sequence[str], as_of: datetime
) -> pa.Table:
    """Return encounter_id, these features, and of each view <view>__feature_prediction_time: of when its row is.

    A row that is older at as_of than its view's freshness gives nulls, and so does one of later than as_of: the time
    stays, so that the reader sees why. Null is the time too where the store holds no row of the stay.
    """
    held = _held(store, features, views, encounter_ids)
    columns, times, shown = {"encounter_id": held["encounter_id"]}, {}, {}
    for name, each in views.items():
        times[f"{name}__feature_prediction_time"] = time = _only(_is_ours(held, each), _time(held, each))
        from_, to = pa.scalar(as_of - each.freshness, INSTANT), pa.scalar(as_of, INSTANT)
        shown[name] = pc.fill_null(pc.and_(pc.greater_equal(time, from_), pc.less_equal(time, to)), False)
    for reference in features:
        name, _, feature = reference.partition(":")
        value = held[f"{name}__{feature}"]  # of no type where no stay has one
        columns[feature] = _only(shown[name], value if value.type == pa.float64() else value.cast(pa.float64()))
    return pa.table({**columns, **times})


def _held(
    store: Any, features: Sequence[str], views: Mapping[str, OnlineView], encounter_ids: Sequence[str]
) -> pa.Table:
    """Return what the store holds, named view__feature, with what each view's row says of itself."""
    found: pa.Table = store.get_online_features(
        features=[*features, *(f"{name}:{column}" for name in views for column in OF_THE_ROW)],
        entity_rows=[{"encounter_id": each} for each in encounter_ids],
        full_feature_names=True,
    ).to_arrow()
    return found


def _is_ours(held: pa.Table, view: OnlineView) -> pa.ChunkedArray:
    """Whether the row was computed by the present version of the view's SQL, under the present feeds."""
    return pc.fill_null(pc.equal(held[f"{view.name}__feature_view_version"].cast(pa.string()), view.version), False)


def _time(held: pa.Table, view: OnlineView) -> pa.ChunkedArray:
    """Of when each row is, to the microsecond: the instants that Feast keeps are cut to the second."""
    return held[f"{view.name}__feature_prediction_time_us"].cast(pa.int64()).cast(INSTANT)


def _only(is_shown: pa.ChunkedArray, value: pa.ChunkedArray) -> pa.ChunkedArray:
    """Put null where a value is not to be shown."""
    return value if pc.all(is_shown).as_py() else pc.if_else(is_shown, value, pa.scalar(None, value.type))
