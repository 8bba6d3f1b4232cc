"""The spine: who is asked about, and when. Rows out equal rows in, in the same order, or the read stops."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from integrations.errors import NotInOrder

KEYS = ("site_id", "patient_id", "encounter_id", "prediction_time")


def check_spine(spine: pa.Table) -> None:
    """Raise NotInOrder when a key column is missing or null, or a stay and time stands twice."""
    missing = [name for name in KEYS if name not in spine.column_names]
    if missing:
        raise NotInOrder(f"the spine has no {', '.join(missing)}", to_do=f"give it {', '.join(KEYS)}")
    nulls = [name for name in KEYS if spine[name].null_count]
    if nulls:
        raise NotInOrder(f"the spine has rows without {', '.join(nulls)}")
    distinct = spine.group_by(["encounter_id", "prediction_time"]).aggregate([]).num_rows
    if distinct != spine.num_rows:
        raise NotInOrder(f"the spine has {spine.num_rows} rows for {distinct} pairs of stay and prediction_time")


def check_read_back(rows: pa.Table, spine: pa.Table, views: Sequence[str]) -> None:
    """Raise NotInOrder when rows were lost or added, or a view has no row for a prediction_time of the spine."""
    if not rows["spine_row"].combine_chunks().equals(pa.array(range(spine.num_rows), pa.int64())):
        raise NotInOrder(f"{spine.num_rows} spine rows in, {rows.num_rows} rows out", where="feature store")
    asked = spine["prediction_time"].cast(pa.timestamp("us", "UTC"))
    for view in views:
        found = rows[f"{view}__feature_prediction_time"].cast(pa.timestamp("us", "UTC"))
        same = pc.fill_null(pc.equal(found, asked), False)
        wrong = spine.num_rows - (pc.sum(same).as_py() or 0)
        if wrong:
            raise NotInOrder(
                f"{wrong} of {spine.num_rows} rows of view {view} are missing or of another prediction_time",
                where="feature store",
                to_do="build features for these rows first",
            )


def with_features(spine: pa.Table, features: Sequence[str], rows: pa.Table | None) -> pa.Table:
    """Return the spine with one float64 column per "view:feature", named by the feature."""
    for reference in features:
        view, _, feature = reference.partition(":")
        values = pa.array([], pa.float64()) if rows is None else rows[f"{view}__{feature}"].cast(pa.float64())
        spine = spine.append_column(feature, values)
    return spine
