"""Which rows of a spine a view must compute: those it does not keep, and those of whom something came in since.

What came in counts for a row only if it was available by its prediction_time: a live feed changes no row of the past,
an extract of history or a late merge does.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from features.kept_rows import SNAPSHOT_ID, span
from integrations.duck import quoted

# snapshot_id -> patient_id, available_at, snapshot_id of what came in after it; None where nobody can tell
Changes = Callable[[int], pa.Table | None]

KEPT = """
select s.spine_row, max({snapshot_id}) as snapshot_id
from numbered_spine as s
join read_parquet([{files}]) as k
    on k.encounter_id = s.encounter_id
    and k.prediction_time = s.prediction_time
where k.prediction_time between $first and $last
group by s.spine_row
"""
STALE = """
select s.spine_row
from numbered_spine as s
left join kept on kept.spine_row = s.spine_row
where kept.spine_row is null
or exists (
    from change as c
    where c.patient_id = s.patient_id
    and c.snapshot_id > kept.snapshot_id
    and c.available_at <= s.prediction_time
)
order by s.spine_row
"""


def stale_rows(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], spine: pa.Table, changes: Changes
) -> pa.Table:
    """Return the rows of a spine that the view whose kept rows lie in `files` must compute, in the spine's order."""
    if not files or not spine.num_rows:
        return spine
    numbered = spine.append_column("spine_row", pa.array(range(spine.num_rows), pa.int64()))
    first, last = span(spine)
    connection.register("numbered_spine", numbered)
    try:
        kept = connection.sql(
            KEPT.format(snapshot_id=SNAPSHOT_ID, files=", ".join(quoted(file) for file in files)),
            params={"first": first, "last": last},
        ).to_arrow_table()
        if not kept.num_rows:
            return spine
        came = changes(pc.min(kept["snapshot_id"]).as_py())
        if came is None:
            return spine
        connection.register("kept", kept)
        connection.register("change", came)
        return spine.take(connection.sql(STALE).to_arrow_table()["spine_row"])
    finally:
        for name in ("numbered_spine", "kept", "change"):
            connection.unregister(name)
