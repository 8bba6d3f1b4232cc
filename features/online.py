"""What the online store gets and gives: the newest row of each stay, never an older one over a newer."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

INSTANT = pa.timestamp("us", "UTC")


def newest_rows(folder: Path, as_of: datetime, window: timedelta) -> pa.Table:
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
    return rows.filter(pa.array([index == 0 or ids[index - 1] != each for index, each in enumerate(ids)], pa.bool_()))


def not_older(store: Any, view: str, rows: pa.Table) -> pa.Table:
    """Return the rows that are newer than what the online store holds of their stay."""
    if not rows.num_rows:
        return rows
    entities = [{"encounter_id": each} for each in rows["encounter_id"].to_pylist()]
    held = store.get_online_features(features=[f"{view}:feature_prediction_time"], entity_rows=entities).to_arrow()
    before = held["feature_prediction_time"].cast(INSTANT)
    return rows.filter(pc.fill_null(pc.greater(rows["prediction_time"].cast(INSTANT), before), True))


def online_rows(store: Any, features: Sequence[str], encounter_ids: Sequence[str]) -> pa.Table:
    """Return encounter_id and these features as the online store holds them; null where it holds nothing."""
    entities = [{"encounter_id": each} for each in encounter_ids]
    found: pa.Table = store.get_online_features(features=list(features), entity_rows=entities).to_arrow()
    return found.select(["encounter_id", *(reference.partition(":")[2] for reference in features)])
