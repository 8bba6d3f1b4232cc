"""What is held: a result is known to exist, but lies in quarantine, so a view or a label would say too little.

A quarantined row holds a feature of a stay when, at prediction_time, it was known and not released, its code is one of
those that the feature draws on, its patient is the stay's (by every id of the person) and it was collected within the
hold window.
A row of history counts from its collection on, whenever it was loaded. Where the collection time cannot be read or lies
in the future, the time of quarantine stands for it; a row of history without a time may be of any time. A row whose
patient or code cannot be read holds no one; `rounds quarantine` counts those. An outcome is held when such a row was
collected in the window in which it is looked for.

A feed whose dates are moved has its own clock: there the time of collection stands as it was sent, and what has been
released holds no time any more, since what it brought counts by the history rule.

A blocking finding of the watch holds likewise: see held_findings.py.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from features.definitions import VIEWS, View, view
from features.held_findings import missing_of_site, wrong_results

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

INSTANT = pa.timestamp("us", "UTC")
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
QUARANTINED = pa.schema(
    [
        ("patient_id", pa.string()),
        ("code", pa.string()),
        ("reason", pa.string()),
        ("collected_at", INSTANT),
        ("known_from", INSTANT),
        ("released_at", INSTANT),
    ]
)
HOLD_WINDOWS = pa.schema(
    [
        ("view", pa.string()),
        ("code", pa.string()),
        ("features", pa.list_(pa.string())),  # which a result from this age on, and younger than the window, holds
        ("from_age", pa.duration("us")),
        ("hold_window", pa.duration("us")),
    ]
)

# Materialized: what is joined by time is first found by whose it is.
HOLDS = """
with number as materialized (
    select s.encounter_id, s.prediction_time, p.other_patient_id
    from spine as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= s.prediction_time
        and s.prediction_time < p.superseded_at
),

in_quarantine as materialized (
    select n.encounter_id, n.prediction_time, q.code, q.reason, q.collected_at, q.released_at
    from number as n
    join quarantined as q
        on q.patient_id = n.other_patient_id
        and q.known_from <= n.prediction_time
        and (q.released_at is null or q.released_at > n.prediction_time)
),

hold as (
    select s.encounter_id, s.prediction_time, w.view, w.features, w.from_age, m.reason, m.released_at
    from spine as s
    join missing_of_site as m
        on m.site_id = s.site_id
        and m.opened_at <= s.prediction_time
        and (m.released_at is null or m.released_at > s.prediction_time)
    join hold_window as w
        on w.code = m.code
        and w.from_age = interval 0 hours
    union all
    select q.encounter_id, q.prediction_time, w.view, w.features, w.from_age, q.reason, q.released_at
    from in_quarantine as q
    join hold_window as w
        on w.code = q.code
        and (
            (q.collected_at is null and w.from_age = interval 0 hours)
            or (
                q.collected_at <= q.prediction_time - w.from_age
                and q.collected_at > q.prediction_time - w.hold_window
            )
        )
)
"""
HELD = """
select encounter_id, prediction_time, view, features, reason, count(*) as row_count
from hold
group by encounter_id, prediction_time, view, features, reason
order by prediction_time, encounter_id, view, reason, features
"""
# What is older than the hold window of its view holds few features, mostly for a flag: it keeps nobody waiting.
RELEASED = """
select encounter_id, prediction_time, max(released_at) as released_at
from hold
group by encounter_id, prediction_time
having max(released_at) is not null
and count(*) filter (where from_age = interval 0 hours and released_at is null) = 0
order by prediction_time, encounter_id
"""

HELD_OUTCOMES = """
with number as materialized (
    select s.encounter_id, s.prediction_time, p.other_patient_id
    from spine as s
    join same_person as p
        on p.patient_id = s.patient_id
        and p.available_at <= $as_of
        and $as_of < p.superseded_at
)

select distinct n.encounter_id, n.prediction_time
from number as n
join quarantined as q
    on q.patient_id = n.other_patient_id
    and q.released_at is null
    and (
        q.collected_at is null
        or (q.collected_at > n.prediction_time and q.collected_at <= n.prediction_time + $horizon)
    )
union
select s.encounter_id, s.prediction_time
from spine as s
join missing_of_site as m
    on m.site_id = s.site_id
    and m.released_at is null
    and m.since_at < s.prediction_time + $horizon
order by prediction_time, encounter_id
"""


def held_features(
    records: "Connection",
    connection: duckdb.DuckDBPyConnection,
    spine: pa.Table,
    views: Sequence[str],
    as_of: datetime,
) -> pa.Table:
    """Return encounter_id, prediction_time, view, features, reason and row_count: what is held for whom, and why.

    features: those of the view that draw on the code of what is held back; its other features are as they were.
    `same_person` is open in the DuckDB connection. What was quarantined after as_of is not known yet.
    """
    return _holds(records, connection, spine, views, as_of, HELD)


def released_holds(
    records: "Connection",
    connection: duckdb.DuckDBPyConnection,
    spine: pa.Table,
    views: Sequence[str],
    as_of: datetime,
) -> pa.Table:
    """Return encounter_id, prediction_time and released_at of the spine rows that were held and no longer are.

    released_at is when the last of what held a row was released, at as_of or before. What is older than the hold window
    of its view, and holds only features that look back further, need not be released.
    """
    return _holds(records, connection, spine, views, as_of, RELEASED)


def held_outcomes(
    records: "Connection",
    connection: duckdb.DuckDBPyConnection,
    spine: pa.Table,
    codes: Sequence[str],
    horizon: timedelta,
    as_of: datetime,
) -> pa.Table:
    """Return encounter_id and prediction_time of the rows in whose outcome window a result of `codes` is in quarantine.

    Without that result a "no" would be learnt where nobody knows. One that is released by as_of holds nothing.
    """
    given = {"spine": spine, **_held_back(records, connection, list(codes), as_of)}
    return _ask(connection, given, HELD_OUTCOMES, as_of=as_of, horizon=horizon)


def _holds(
    records: "Connection",
    connection: duckdb.DuckDBPyConnection,
    spine: pa.Table,
    views: Sequence[str],
    as_of: datetime,
    question: str,
) -> pa.Table:
    windows = [
        {"view": each.name, "code": code, "features": held, "from_age": from_age, "hold_window": window}
        for each in (view(name, VIEWS) for name in views)
        for code in each.codes
        for from_age, window in pairwise((timedelta(), *each.hold_windows))
        if (held := _held_for(each, code, window))
    ]
    given = {
        "spine": spine,
        "hold_window": pa.Table.from_pylist(windows, schema=HOLD_WINDOWS),
        **_held_back(records, connection, sorted({str(row["code"]) for row in windows}), as_of),
    }
    return _ask(connection, given, HOLDS + question)


def _held_for(each: View, code: str, window: timedelta) -> list[str]:
    """The features of a view that draw on a code and are held for that long or longer."""
    names = [feature.name for feature in each.features if each.hold_window_of(feature.name) >= window]
    return [name for name in names if code in each.codes_by_feature[name]]


def _ask(
    connection: duckdb.DuckDBPyConnection, given: Mapping[str, pa.Table], question: str, **parameters: object
) -> pa.Table:
    for name, table in given.items():
        connection.register(name, table)
    try:
        return connection.sql(question, params=parameters).to_arrow_table()
    finally:
        for name in given:
            connection.unregister(name)


def _held_back(
    records: "Connection", connection: duckdb.DuckDBPyConnection, codes: list[str], as_of: datetime
) -> dict[str, pa.Table]:
    """What is known to exist, or to be missing, and cannot be used: in quarantine, or under a finding of the watch."""
    moved = {source for (source,) in connection.execute("select source from feed where is_date_shifted").fetchall()}
    quarantined = _quarantined(records, codes, as_of, moved)
    if (wrong := wrong_results(records, connection, codes, as_of)) is not None:
        quarantined = pa.concat_tables([quarantined, wrong.cast(QUARANTINED)])
    return {"quarantined": quarantined, "missing_of_site": missing_of_site(records, codes, as_of)}


def _quarantined(records: "Connection", codes: list[str], as_of: datetime, moved: Collection[str]) -> pa.Table:
    """Read the quarantined rows of these codes that have a patient, known at as_of. `moved`: feeds of another clock."""
    from sqlalchemy import select

    from integrations.records.schema import extract, quarantine

    q, of_row = quarantine.c, (extract.c.is_history, extract.c.source)
    statement = (
        select(q.patient_id, q.code, q.reason, q.effective_at, q.quarantined_at, q.released_at, *of_row)
        .join_from(quarantine, extract, q.extract_id == extract.c.extract_id)
        .where(q.patient_id.is_not(None), q.code.in_(codes), q.quarantined_at <= as_of)
    )
    rows = [_as_row(row, is_moved=row.source in moved, as_of=as_of) for row in records.execute(statement)]
    of_use = [row for row in rows if not (row["source"] in moved and row["released_at"])]
    return pa.Table.from_pylist(of_use, schema=QUARANTINED)


def _as_row(row: "Row[Any]", *, is_moved: bool, as_of: datetime) -> dict[str, Any]:
    """What was quarantined, with when it was collected, from when on it holds, and until when as known at as_of."""
    collected_at = row.effective_at or row.quarantined_at
    if not is_moved:
        collected_at = min(collected_at, row.quarantined_at)
    is_of_any_time = row.is_history and row.effective_at is None
    return {
        **row._mapping,
        "collected_at": None if is_of_any_time else collected_at,
        "known_from": LONG_AGO if is_of_any_time else collected_at if row.is_history else row.quarantined_at,
        "released_at": row.released_at if row.released_at and row.released_at <= as_of else None,
    }
