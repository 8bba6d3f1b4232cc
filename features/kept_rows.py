"""What the offline store keeps of a spine, by a plain equality join: each row for its own prediction_time.

A folder gets a file for every round and part. Each is named by the times of its rows and the buckets in which their
persons work, so a part of a round opens the files of a few days and of its own buckets.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from integrations.duck import quoted

INSTANT = pa.timestamp("us", "UTC")
SECOND = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"(\d{8}T\d{6}Z)-(\d{8}T\d{6}Z)-([0-9a-f]{16})-")
Buckets: TypeAlias = "Collection[int] | None"  # of the lake, in which the persons of a spine work; None: all
PLACES = 64  # buckets that are so many apart are told by one bit
EVERYWHERE = 2**PLACES - 1
# A kept row's created time is its prediction_time and a microsecond for each snapshot: so the newest of a row stands.
SNAPSHOT_ID = "epoch_us(k.created_at) - epoch_us(k.prediction_time)"  # of the snapshot that a kept row k was made of


def kept_file(folder: Path, name: str, spine: pa.Table, buckets: Buckets = None) -> Path:
    """Where the rows of a spine are kept under a name; the spine is not empty, its persons work in these buckets."""
    first, last = span(spine)
    return folder / f"{first:{SECOND}}-{last:{SECOND}}-{_places(buckets):016x}-{name}.parquet"


def kept_files(folder: Path, first: datetime, last: datetime, buckets: Buckets = None) -> list[Path]:
    """Return the files of a folder that may hold rows of a prediction_time from first to last, in order.

    With buckets, those of persons who worked in one of them when the file was written. What was kept of somebody who
    works elsewhere since is not found there, and is computed once more.
    """
    from_, to, places = first.astimezone(UTC).strftime(SECOND), last.astimezone(UTC).strftime(SECOND), _places(buckets)
    found = []
    for file in folder.glob("*.parquet"):
        said = NAME.match(file.name)
        # one whose name says nothing may hold any
        if said is None or (said[1] <= to and from_ <= said[2] and int(said[3], 16) & places):
            found.append(file)
    return sorted(found)


def _places(buckets: Buckets) -> int:
    """The buckets as bits; None are all."""
    return EVERYWHERE if buckets is None else sum(1 << place for place in {bucket % PLACES for bucket in buckets})


def span(spine: pa.Table) -> tuple[datetime, datetime]:
    """Return the first and the last prediction_time of a spine that is not empty."""
    found = pc.min_max(spine["prediction_time"].cast(INSTANT)).as_py()
    return found["min"], found["max"]


def rows_of_views(
    connection: duckdb.DuckDBPyConnection,
    folders: Mapping[str, Path],
    features: Sequence[str],
    spine: pa.Table,
    buckets: Buckets = None,
) -> pa.Table:
    """Return these "view:feature" of a spine side by side, as view__feature, with each row's own time."""
    first, last = span(spine)
    columns: dict[str, pa.ChunkedArray] = {}
    pairs = [reference.split(":") for reference in features]
    for view, folder in folders.items():
        files = kept_files(folder, first, last, buckets)
        kept = kept_rows(connection, view, [feature for each, feature in pairs if each == view], files, spine)
        columns |= zip(kept.column_names, kept.columns, strict=True)
    return pa.table(columns)


def kept_rows(
    connection: duckdb.DuckDBPyConnection, view: str, features: Sequence[str], files: Sequence[Path], spine: pa.Table
) -> pa.Table:
    """Return what these files keep of a spine, one row per spine row and in its order; null where they keep none.

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
    columns = ", ".join(f"k.{name} as {view}__{name}" for name in ("feature_prediction_time", *features))
    connection.register("numbered_spine", numbered)
    try:
        found = connection.sql(
            f"""
            with kept as (
                from read_parquet([{", ".join(quoted(file) for file in files)}])
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
