"""What a view kept for a row when the row was scored, and whether it is what it keeps now."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from features.kept_rows import SNAPSHOT_ID, kept_files, span
from integrations.duck import quoted

SAME = """
with kept as (
    select
        s.spine_row,
        s.snapshot_id as scored_by,
        {snapshot_id} as kept_by,
        row({features}) as features
    from numbered_spine as s
    join read_parquet([{files}]) as k
        on k.encounter_id = s.encounter_id
        and k.prediction_time = s.prediction_time
    where k.prediction_time between $first and $last
)

select spine_row
from kept
group by spine_row
having max_by(features, kept_by) filter (where kept_by <= scored_by) = max_by(features, kept_by)
"""


def same_since(
    connection: duckdb.DuckDBPyConnection, folder: Path, features: Sequence[str], spine: pa.Table
) -> pa.BooleanArray:
    """Say of each spine row, with its snapshot_id, whether the view kept then what it keeps now; no if unknown."""
    files = _files(folder, spine)
    if not files:
        return pa.array([False] * spine.num_rows, pa.bool_())
    numbers = pa.array(range(spine.num_rows), pa.int64())
    first, last = span(spine)
    named = ", ".join(f"k.{name}" for name in features)
    connection.register("numbered_spine", spine.append_column("spine_row", numbers))
    try:
        sql = SAME.format(features=named, files=files, snapshot_id=SNAPSHOT_ID)
        same = connection.sql(sql, params={"first": first, "last": last}).to_arrow_table()["spine_row"]
    finally:
        connection.unregister("numbered_spine")
    return pc.is_in(numbers, same.combine_chunks())


def kept_then(connection: duckdb.DuckDBPyConnection, folder: Path, spine: pa.Table) -> dict[str, float | None]:
    """Return what the view kept of one row, with its snapshot_id, by feature; nothing where it keeps none of then."""
    files = _files(folder, spine)
    if not files:
        return {}
    [row] = spine.select(["encounter_id", "prediction_time", "snapshot_id"]).to_pylist()
    rows = connection.sql(
        f"""
        from read_parquet([{files}]) as k
        where k.encounter_id = $encounter_id
        and k.prediction_time = $prediction_time
        and {SNAPSHOT_ID} <= $snapshot_id
        order by k.created_at desc
        limit 1
        """,
        params=row,
    ).to_arrow_table()
    return {name: value for kept in rows.to_pylist() for name, value in kept.items()}


def _files(folder: Path, spine: pa.Table) -> str:
    """List the files that may hold rows of a spine, as SQL names them."""
    return ", ".join(quoted(file) for file in kept_files(folder, *span(spine))) if spine.num_rows else ""
