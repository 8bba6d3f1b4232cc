"""Who is due once more because what held them was released, and whether they are still predicted for."""

import re
from datetime import datetime

import duckdb
import pyarrow as pa

from integrations.tables import TABLES
from models.cohort import COHORT_COLUMNS, ORDER, STAY_NOW, in_order, query, run_sql
from models.use_case import UseCase

IN_TIME = """
(
    released.released_at <= rows.prediction_time + $max_age
    and (rows.horizon_starts_at is null or released.released_at < rows.horizon_starts_at + $horizon)
)
"""
RELEASED_TOO_LATE = "held: what held them was released too late for their time, and counts from its release on"


def released_too_late(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table, use_case: UseCase, released: pa.Table
) -> int:
    """Count the rows whose hold ended so late that the stay is not due once more: after max_age, or the horizon."""
    if not released.num_rows:
        return 0
    found = query(
        connection,
        f"""
        select count(*) as row_count
        from rows
        join released using (encounter_id, prediction_time)
        where rows.excluded_reason is null
        and not {IN_TIME}
        """,
        rows=rows,
        released=released,
        max_age=use_case.max_age,
        horizon=use_case.horizon,
    )
    return int(found["row_count"][0].as_py())


def due_after_release(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table, use_case: UseCase, released: pa.Table
) -> pa.Table:
    """Return cohort rows at the time at which what held them was released, if that is within the use case's max_age.

    A held score is final for its own prediction_time; the stay is due once more at this one, unless a row of the
    cohort stands there anyway. Whether it is predicted for is asked anew: what was released may exclude it. `released`
    has encounter_id, prediction_time and released_at.
    """
    again = query(
        connection,
        f"""
        select rows.encounter_id, max(rows.prediction_time) as prediction_time, released.released_at
        from rows
        join released using (encounter_id, prediction_time)
        anti join rows as other
            on other.encounter_id = rows.encounter_id
            and other.prediction_time = released.released_at
        where rows.excluded_reason is null
        and {IN_TIME}
        group by rows.encounter_id, released.released_at
        {ORDER}
        """,
        rows=rows,
        released=released,
        max_age=use_case.max_age,
        horizon=use_case.horizon,
    )
    moments = sorted(set(zip(again["prediction_time"].to_pylist(), again["released_at"].to_pylist(), strict=True)))
    parts = [_at_release(connection, use_case, again, *moment) for moment in moments]
    return in_order(pa.concat_tables([rows.slice(0, 0), *parts]))


def _at_release(
    connection: duckdb.DuckDBPyConnection,
    use_case: UseCase,
    again: pa.Table,
    held_at: datetime,
    released_at: datetime,
) -> pa.Table:
    """Ask the cohort about a held time as though all that was known at the release had been so, and collected, then.

    The SQL chooses its own times, so the release cannot be put to it; and the stay it asks about may have ended since.
    """
    known = "available_at <= $released_at and $released_at < superseded_at"
    words = set(re.findall(r"\w+", STAY_NOW + use_case.cohort_sql))
    relations = [
        f"{name} as (select * replace (least(available_at, $held_at) as available_at{effective_at}) "
        f"from temp.main.{name} where {known})"
        for name, effective_at in (
            ("same_person", ""),
            *((name, ", least(effective_at, $held_at) as effective_at") for name in TABLES),
        )
        if name in words
    ]
    where = f"{use_case.name}/cohort.sql"
    moment = {"held_at": held_at, "released_at": released_at}
    found = run_sql(connection, use_case.cohort_sql, COHORT_COLUMNS, where, held_at, relations=relations, given=moment)
    return query(
        connection,
        f"""
        select found.* replace ($released_at as prediction_time)
        from found
        semi join again
            on again.encounter_id = found.encounter_id
            and again.prediction_time = found.prediction_time
            and again.released_at = $released_at
        where found.prediction_time = $held_at
        {ORDER}
        """,
        found=found,
        again=again,
        **moment,
    )
