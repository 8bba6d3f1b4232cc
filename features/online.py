"""What the online store gets and gives: the newest row of each stay, never an older one over a newer.

Beside its features a row online says its prediction_time, the snapshot it was computed from, and the version of its
view's SQL. A row of another version is as good as none.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.definitions import View

INSTANT = pa.timestamp("us", "UTC")
OF_THE_ROW = ("feature_prediction_time", "feature_snapshot_id", "feature_view_version")


def newest_rows(folder: Path, view: View, as_of: datetime, window: timedelta) -> pa.Table:
    """Return the newest row of each stay with prediction_time in (as_of - window, as_of], by the newest snapshot."""
    import pyarrow.dataset as ds

    files = [str(path) for path in sorted(folder.glob("*.parquet"))]
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
    snapshots = pc.subtract(rows["created_at"].cast(pa.int64()), rows["prediction_time"].cast(pa.int64()))
    return rows.append_column("feature_snapshot_id", snapshots).append_column(
        "feature_view_version", pa.array([view.version] * rows.num_rows, pa.string())
    )


def not_older(store: Any, view: View, rows: pa.Table) -> pa.Table:
    """Return the rows that are newer than what the online store holds of their stay, by time and then by snapshot."""
    if not rows.num_rows:
        return rows
    held = _held(store, [], {view.name: view}, rows["encounter_id"].to_pylist())
    time, before = rows["prediction_time"].cast(INSTANT), held[f"{view.name}__feature_prediction_time"]
    is_later = pc.or_(
        pc.greater(time, before),
        pc.and_(
            pc.equal(time, before),
            pc.greater(rows["feature_snapshot_id"], held[f"{view.name}__feature_snapshot_id"]),
        ),
    )
    return rows.filter(pc.fill_null(is_later, True))


def online_rows(
    store: Any, features: Sequence[str], views: Mapping[str, View], encounter_ids: Sequence[str], as_of: datetime
) -> pa.Table:
    """Return encounter_id, these features, and of each view <view>__feature_prediction_time: of when its row is.

    A row that is older at as_of than its view's freshness gives nulls, and so does one of later than as_of: the time
    stays, so that the reader sees why. Null is the time too where the store holds no row of the stay.
    """
    found = _held(store, features, views, encounter_ids)
    columns = {"encounter_id": found["encounter_id"]}
    is_fresh = {name: _is_fresh(found[f"{name}__feature_prediction_time"], each, as_of) for name, each in views.items()}
    for reference in features:
        name, _, feature = reference.partition(":")
        value = found[f"{name}__{feature}"].cast(pa.float64())
        columns[feature] = pc.if_else(is_fresh[name], value, pa.scalar(None, pa.float64()))
    for name in views:
        columns[f"{name}__feature_prediction_time"] = found[f"{name}__feature_prediction_time"]
    return pa.table(columns)


def _is_fresh(time: pa.ChunkedArray, view: View, as_of: datetime) -> pa.ChunkedArray:
    from_, to = pa.scalar(as_of - view.freshness, INSTANT), pa.scalar(as_of, INSTANT)
    return pc.fill_null(pc.and_(pc.greater_equal(time, from_), pc.less_equal(time, to)), False)


def _held(store: Any, features: Sequence[str], views: Mapping[str, View], encounter_ids: Sequence[str]) -> pa.Table:
    """Return what the store holds, with time and snapshot of each view's row: null where it is of another version."""
    wanted = [*features, *(f"{name}:{column}" for name in views for column in OF_THE_ROW)]
    found: pa.Table = store.get_online_features(
        features=wanted,
        entity_rows=[{"encounter_id": each} for each in encounter_ids],
        full_feature_names=True,
    ).to_arrow()
    columns = {"encounter_id": found["encounter_id"]}
    for reference in wanted:
        name, _, feature = reference.partition(":")
        kind = {"feature_prediction_time": INSTANT, "feature_snapshot_id": pa.int64()}.get(feature)
        value = found[f"{name}__{feature}"]
        value = value if kind is None else value.cast(kind)
        is_ours = pc.fill_null(
            pc.equal(found[f"{name}__feature_view_version"].cast(pa.string()), views[name].version), False
        )
        columns[f"{name}__{feature}"] = pc.if_else(is_ours, value, pa.scalar(None, value.type))
    return pa.table(columns)
