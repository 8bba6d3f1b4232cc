"""Who is predicted for, who of them is due, and what came of them.

The use case's own SQL decides; this module only runs it over the canonical relations that are open in the connection,
and checks what comes back. All frames are Arrow tables in UTC, sorted by prediction_time and encounter_id.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from integrations.errors import NotInOrder
from models.use_case import UseCase

COHORT_COLUMNS = (
    "site_id",
    "patient_id",
    "encounter_id",
    "prediction_time",
    "excluded_reason",  # by what was known at prediction_time: no prediction is made
    "lapsed_reason",  # by what is known at as_of: a score has no use any more
    "horizon_starts_at",  # where it is not prediction_time
)
LABEL_COLUMNS = ("encounter_id", "prediction_time", "label", "label_known_at", "label_reason", "event_at")
ORDER = "order by prediction_time, encounter_id"
# On a feed whose dates are moved, now lies after every date of every patient: no window there is still open.
AFTER_ALL_DATES = datetime(2300, 1, 1, tzinfo=UTC)
BEFORE_ALL_DATES = datetime(1, 1, 1, tzinfo=UTC)  # and nothing there is too old to be looked at
# What is known now of a stay, once for every number of its person: a stay that is told anew under the number that stays
# after a merge is the same one. Of another's, or one entered in error, there is no row.
STAY_NOW = """
stay_now as (
    select p.patient_id, e.* exclude (patient_id)
    from same_person as p
    join encounter as e on e.patient_id = p.other_patient_id
    where p.available_at <= $as_of
    and $as_of < p.superseded_at
    and e.available_at <= $as_of
    and $as_of < e.superseded_at
    and not e.is_retracted
)
"""


@dataclass(frozen=True, kw_only=True)
class Due:
    """Who is scored now: the newest row of each stay, excluded ones too; and older rows that never got a score."""

    live: pa.Table
    backfill: pa.Table


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Rows with a final label, each with its person_id; and the count of rows by reason, those without label too."""

    rows: pa.Table
    reasons: dict[str, int]


def cohort(
    connection: duckdb.DuckDBPyConnection, use_case: UseCase, as_of: datetime, *, since: datetime | None = None
) -> pa.Table:
    """Return every row the use case ever had up to as_of, with the reason where it is excluded (null: eligible).

    `since` leaves out what lies before it, and spares the SQL all stays of which nothing has been news since then.
    Raises NotInOrder when the SQL gives other columns, two rows of one stay and time, or a prediction_time after as_of.
    """
    where = f"{use_case.name}/cohort.sql"
    known: dict[str, Any] = {}
    if since is not None:  # the last version of a stay before `since` is what it was then, so it stays
        stays = "encounter as (from temp.main.encounter where superseded_at > $since)"
        known = {"relations": [stays], "keep": "prediction_time > $since", "given": {"since": since}}
    rows = run_sql(connection, use_case.cohort_sql, COHORT_COLUMNS, where, as_of, **known)
    _check_unique(connection, rows, where)
    return rows


def eligible(rows: pa.Table) -> pa.Table:
    """Return the rows of a cohort that are predicted for."""
    return rows.filter(pc.is_null(rows["excluded_reason"]))


def excluded(rows: pa.Table) -> pa.Table:
    """Return the rows of a cohort for whom no prediction is made."""
    return rows.filter(pc.is_valid(rows["excluded_reason"]))


def due(
    connection: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    use_case: UseCase,
    scored: pa.Table,
    as_of: datetime,
) -> Due:
    """Return who is to be scored at as_of.

    Live: the newest row of each stay, if it is not older than the use case's max_age and has no score by a round; one
    that has lapsed is excluded by that reason. Backfill: every other eligible row without any score.
    `scored` has encounter_id, prediction_time and is_by_round: made by a round like this one.
    """
    ranked = query(
        connection,
        f"""
        with ranked as (
            select
                rows.*,
                row_number() over (partition by encounter_id order by prediction_time desc) = 1
                and prediction_time between $as_of - $max_age and $as_of as is_live
            from rows
        )
        select * replace (
            case when is_live then coalesce(excluded_reason, lapsed_reason) else excluded_reason end as excluded_reason
        )
        from ranked
        where not exists (
            from scored
            where scored.encounter_id = ranked.encounter_id
            and scored.prediction_time = ranked.prediction_time
            and (scored.is_by_round or not ranked.is_live)
        )
        {ORDER}
        """,
        rows=rows,
        scored=scored,
        as_of=as_of,
        max_age=use_case.max_age,
    )
    is_live = ranked["is_live"]
    columns = ranked.drop_columns(["is_live"])
    older = eligible(columns.filter(pc.invert(is_live)))
    return Due(live=columns.filter(is_live), backfill=older)


def labels(connection: duckdb.DuckDBPyConnection, use_case: UseCase, rows: pa.Table, as_of: datetime) -> pa.Table:
    """Return what came of each eligible cohort row, as known at as_of: one row each, label null until it is final."""
    where = f"{use_case.name}/label.sql"
    found = run_sql(connection, use_case.label_sql, LABEL_COLUMNS, where, as_of, cohort=rows)
    _check_unique(connection, found, where)
    if found.num_rows != eligible(rows).num_rows:
        raise NotInOrder(
            f"{eligible(rows).num_rows} eligible rows in, {found.num_rows} labels out",
            where=where,
            to_do="let label.sql return one row per eligible cohort row",
        )
    return found


def labelled(connection: duckdb.DuckDBPyConnection, use_case: UseCase, rows: pa.Table, as_of: datetime) -> Labelled:
    """Return the rows whose whole window and lateness have closed, with label and person_id, and the counts by reason.

    person_id stands for everyone linked as of as_of: split and resample by it.
    """
    found = labels(connection, use_case, rows, as_of)
    final = query(
        connection,
        f"""
        with person as (
            select patient_id, min(other_patient_id) as person_id
            from same_person
            where available_at <= $as_of and $as_of < superseded_at
            group by patient_id
        )
        select
            rows.site_id,
            rows.patient_id,
            coalesce(person.person_id, rows.patient_id) as person_id,
            rows.encounter_id,
            rows.prediction_time,
            found.label,
            found.label_known_at,
            found.label_reason,
            found.event_at
        from rows
        join found using (encounter_id, prediction_time)
        left join person on person.patient_id = rows.patient_id
        where found.label is not null
        {ORDER}
        """,
        rows=rows,
        found=found,
        as_of=as_of,
    )
    return Labelled(rows=final, reasons=dict(sorted(Counter(found["label_reason"].to_pylist()).items())))


def run_sql(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    columns: tuple[str, ...],
    where: str,
    as_of: datetime,
    *,
    cohort: pa.Table | None = None,
    relations: Sequence[str] = (),
    keep: str = "true",
    given: Mapping[str, object] | None = None,
) -> pa.Table:
    """Run a use case's SQL for the feeds whose clock is ours, and for those whose dates are moved by their own.

    Beside the relations of the snapshot it has `stay_now`: what is known at as_of of each stay, with the patient_id of
    the snapshot's encounter for every number of its person. `relations` stand in front of those of the snapshot, with
    the parameters that they and `keep` name in `given`.
    """
    named = ", ".join(["feed as (from these_feeds)", *relations, STAY_NOW])
    parts = []
    for is_date_shifted, now in ((False, as_of), (True, AFTER_ALL_DATES)):
        feeds = query(connection, "select * from feed where is_date_shifted = $wanted", wanted=is_date_shifted)
        if feeds.num_rows == 0:
            continue
        mine = dict(given or {}) | ({} if cohort is None else {"cohort": _of_feeds(cohort, feeds)})
        if is_date_shifted and "since" in mine:
            mine["since"] = BEFORE_ALL_DATES
        rows = query(
            connection,
            f"with {named} select * from ({sql}) where {keep} {ORDER}",
            these_feeds=feeds,
            as_of=now,
            **mine,
        )
        _check(connection, rows, columns, where, now)
        parts.append(rows)
    if not parts:
        raise NotInOrder(
            "no feed is open, so nobody can be found", where=where, to_do="open the snapshot with its feeds"
        )
    return in_order(pa.concat_tables(parts))


def in_order(rows: pa.Table) -> pa.Table:
    """Sort as every frame here is sorted."""
    return rows.sort_by([("prediction_time", "ascending"), ("encounter_id", "ascending")])


def _of_feeds(rows: pa.Table, feeds: pa.Table) -> pa.Table:
    source = pc.list_element(pc.split_pattern(rows["encounter_id"], "/", max_splits=1), 0)
    return rows.filter(pc.is_in(source, feeds["source"].combine_chunks()))


def _check(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table, columns: tuple[str, ...], where: str, as_of: datetime
) -> None:
    if tuple(rows.column_names) != columns:
        raise NotInOrder(
            f"columns are {', '.join(rows.column_names)}",
            where=where,
            to_do=f"return {', '.join(columns)}, in this order",
        )
    late = query(connection, "select count(*) as n from rows where prediction_time > $as_of", rows=rows, as_of=as_of)
    if late["n"][0].as_py():
        raise NotInOrder(
            f"{late['n'][0].as_py()} rows lie after as_of",
            where=where,
            to_do="take only rows with prediction_time <= $as_of",
        )


def query(connection: duckdb.DuckDBPyConnection, sql: str, **given: object) -> pa.Table:
    """Run SQL with tables given as relations and everything else as parameters."""
    tables = {name: value for name, value in given.items() if isinstance(value, pa.Table)}
    for name, table in tables.items():
        connection.register(name, table)
    try:
        parameters = {name: value for name, value in given.items() if name not in tables}
        return connection.sql(sql, params=parameters).to_arrow_table()
    finally:
        for name in tables:
            connection.unregister(name)


def _check_unique(connection: duckdb.DuckDBPyConnection, rows: pa.Table, where: str) -> None:
    count = query(connection, "select count(distinct row(encounter_id, prediction_time)) as n from rows", rows=rows)[
        "n"
    ][0].as_py()
    if count != rows.num_rows:
        raise NotInOrder(
            f"{rows.num_rows} rows for {count} pairs of stay and time",
            where=where,
            to_do="return one row per encounter_id and prediction_time",
        )
