"""What the offline store keeps of a spine, by a plain equality join: each row for its own prediction_time.

A folder gets a file for every round. Each is named by the times of its rows, so a round opens the files of a few days.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from integrations.duck import quoted

INSTANT = pa.timestamp("us", "UTC")
SECOND = "%Y%m%dT%H%M%SZ"
TIMES = re.compile(r"(\d{8}T\d{6}Z)-(\d{8}T\d{6}Z)-")
# A kept row's created time is its prediction_time and a microsecond for each snapshot: so the newest of a row stands.
SNAPSHOT_ID = "epoch_us(k.created_at) - epoch_us(k.prediction_time)"  # of the snapshot that a kept row k was made of


def kept_file(folder: Path, name: str, spine: pa.Table) -> Path:
    """Where the rows of a spine are kept under a name; the spine is not empty."""
    first, last = span(spine)
    return folder / f"{first:{SECOND}}-{last:{SECOND}}-{name}.parquet"


def kept_files(folder: Path, first: datetime, last: datetime) -> list[Path]:
    """Return the files of a folder that may hold rows of a prediction_time from first to last, in order."""
    from_, to = (each.astimezone(UTC).strftime(SECOND) for each in (first, last))
    found = []
    for file in folder.glob("*.parquet"):
        times = TIMES.match(file.name)
        if times is None or (times[1] <= to and from_ <= times[2]):  # one without times may hold any
            found.append(file)
    return sorted(found)


def span(spine: pa.Table) -> tuple[datetime, datetime]:
    """Return the first and the last prediction_time of a spine that is not empty."""
    found = pc.min_max(spine["prediction_time"].cast(INSTANT)).as_py()
    return found["min"], found["max"]


def rows_of_views(
    connection: duckdb.DuckDBPyConnection, folders: Mapping[str, Path], features: Sequence[str], spine: pa.Table
) -> pa.Table:
    """Return these "view:feature" of a spine side by side, as view__feature, with each row's own time."""
    columns: dict[str, pa.ChunkedArray] = {}
    pairs = [reference.split(":") for reference in features]
    for view, folder in folders.items():
        kept = kept_rows(connection, view, [feature for each, feature in pairs if each == view], folder, spine)
        columns |= zip(kept.column_names, kept.columns, strict=True)
    return pa.table(columns)


def kept_rows(
    connection: duckdb.DuckDBPyConnection, view: str, features: Sequence[str], folder: Path, spine: pa.Table
) -> pa.Table:
    """Return what a folder keeps of a spine, one row per spine row and in its order; null where it keeps none.

    Of several rows of one stay and time the one of the newest snapshot stands. The columns are those asked for, named
    view__feature as Feast names them. Parts of files outside the spine's times are not read.
    """
    numbered = pa.table(
        {
            "encounter_id": spine["encounter_id"],
            "prediction_time": spine["prediction_time"].cast(INSTANT),
            "spine_row": np.arange(spine.num_rows, dtype=np.int64),
        }
    )
    first, last = span(numbered)
    files = ", ".join(quoted(file) for file in kept_files(folder, first, last))
    columns = ", ".join(f"k.{name} as {view}__{name}" for name in ("feature_prediction_time", *features))
    connection.register("numbered_spine", numbered)
    try:
        found = connection.sql(
            f"""
            with kept as (
                from read_parquet([{files}])
                where prediction_time between $first and $last
            )
            select s.spine_row, epoch_us(k.created_at) as created_us, {columns}
            from numbered_spine as s
            join kept as k
                on k.encounter_id = s.encounter_id
                and k.prediction_time = s.prediction_time
            """,
            params={"first": first, "last": last},
        ).to_arrow_table()
    finally:
        connection.unregister("numbered_spine")
    return _in_order(found, spine.num_rows)


def _in_order(found: pa.Table, row_count: int) -> pa.Table:
    """Put the rows that were found in the spine's order, the newest of each; one row of nulls where none was found."""
    spine_row = found["spine_row"].to_numpy()
    order = np.arange(found.num_rows)
    if np.bincount(spine_row, minlength=1).max() > 1:
        order = np.lexsort((found["created_us"].to_numpy(), spine_row))
        of_spine = spine_row[order]
        order = order[np.append(of_spine[1:] != of_spine[:-1], True)]
    place = np.full(row_count, -1, dtype=np.int64)
    place[spine_row[order]] = order
    rows = found.drop_columns(["spine_row", "created_us"]).take(pa.array(place, mask=place < 0))
    return rows.append_column("spine_row", pa.array(np.arange(row_count, dtype=np.int64)))
