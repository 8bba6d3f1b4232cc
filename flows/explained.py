"""Explain the features of one patient: find the row that is meant, and open no more of the lake than the person.

Where the row has a score, the values are those that the score was made of: of its own snapshot.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from flows.build_features import views_of
from flows.house import House, Snapshot, feeds
from integrations.errors import Refused, WrongUsage
from integrations.records import schema as s
from models.catalog import use_case

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from features.explained import ExplainedFeature

OF_SCORE = (
    *("score_id", "version", "purpose", "status", "probability", "reasons", "scored_at", "snapshot_id"),
    *("view_versions", "patient_id"),
)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One cohort row and its features, in the order of the use case.

    score: the newest of the row, whose values these are. newer: features that are others with what has come in since
    it was made. other_views: those whose SQL was another then; of them the values are as they were kept. lost_views: of
    these, those of which nothing is kept of then any more; their values are null.
    """

    row: dict[str, Any]
    snapshot_id: int
    features: "tuple[ExplainedFeature, ...]"
    score: dict[str, Any] | None = None
    newer: "Mapping[str, ExplainedFeature]" = field(default_factory=dict)
    other_views: tuple[str, ...] = ()
    lost_views: tuple[str, ...] = ()


def explain(house: House, name: str, patient_id: str, as_of: datetime, encounter_id: str | None) -> Explained:
    """Explain each feature of the newest cohort row of a patient at as_of or before.

    Raises WrongUsage for a patient whom nobody knows, Refused where the use case has no row of them.
    """
    newest = house.newest_snapshot()
    lake = _open_person(house, newest, patient_id)
    try:
        row = _newest_row(lake, name, patient_id, as_of, encounter_id)
        now = _explained(house, name, lake, row)
    finally:
        lake.close()
    found = Explained(row=row.to_pylist()[0], snapshot_id=newest.snapshot_id, features=tuple(now.values()))
    score = _score_of(house, name, found.row)
    if score is None:
        return found
    then = now if score["snapshot_id"] == newest.snapshot_id else _at_score(house, name, row, score)
    then, other_views, lost_views = _by_its_views(house, name, row, score, then)
    return replace(
        found,
        snapshot_id=score["snapshot_id"],
        features=tuple(
            replace(each, value_today=now[key].value_today, later=now[key].later) for key, each in then.items()
        ),
        score=score,
        newer={
            key: now[key] for key, each in then.items() if each.value != now[key].value and each.view not in lost_views
        },
        other_views=other_views,
        lost_views=lost_views,
    )


def _explained(
    house: House, name: str, lake: "duckdb.DuckDBPyConnection", row: "pa.Table"
) -> "dict[str, ExplainedFeature]":
    """Explain each feature of a use case for one row, in its order, over the snapshot that is open."""
    from features.definitions import view
    from features.explained import explain_view

    case, spine = use_case(name), row.select(["site_id", "patient_id", "encounter_id", "prediction_time"])
    found = {
        f"{each.view}:{each.feature.name}": each
        for view_name in views_of(case)
        for each in explain_view(lake, view(view_name), spine, house.settings.temp)
    }
    return {reference: found[reference] for reference in case.features}


def _score_of(house: House, name: str, row: dict[str, Any]) -> dict[str, Any] | None:
    """The newest score of a row, made beside the champion or not, held and excluded ones too."""
    its = s.score.c
    wanted = select(*(its[column] for column in OF_SCORE)).where(
        its.use_case == name,
        its.encounter_id == row["encounter_id"],
        its.prediction_time == row["prediction_time"],
    )
    newest_first = wanted.order_by(its.snapshot_id.desc(), its.scored_at.desc(), its.version.desc(), its.score_id)
    with house.records.read() as connection:
        found = connection.execute(newest_first.limit(1)).mappings().first()
    return dict(found) if found else None


def _at_score(house: House, name: str, row: "pa.Table", score: dict[str, Any]) -> "dict[str, ExplainedFeature]":
    """Explain the row over the snapshot of its score."""
    wanted = select(s.snapshot.c.versions).where(s.snapshot.c.snapshot_id == score["snapshot_id"])
    with house.records.read() as connection:
        snapshot = Snapshot(score["snapshot_id"], connection.execute(wanted).scalar_one())
    lake = _open_person(house, snapshot, score["patient_id"])
    try:
        return _explained(house, name, lake, row)
    finally:
        lake.close()


def _by_its_views(
    house: House, name: str, row: "pa.Table", score: dict[str, Any], then: "dict[str, ExplainedFeature]"
) -> "tuple[dict[str, ExplainedFeature], tuple[str, ...], tuple[str, ...]]":
    """Put the values that were kept in the place of those of a view whose SQL is another now, without facts."""
    import pyarrow as pa

    from features.kept_before import kept_then

    others = {
        view_name: version
        for view_name, version in house.store.view_versions(views_of(use_case(name))).items()
        if score["view_versions"].get(view_name, version) != version
    }
    spine = row.append_column("snapshot_id", pa.array([score["snapshot_id"]], pa.int64()))
    found, lost = dict(then), []
    with house.scratch() as connection:
        for view_name in others:
            folder = house.store.offline / view_name / score["view_versions"][view_name]
            kept = kept_then(connection, folder, spine)
            if not kept:
                lost.append(view_name)
            for key, each in then.items():
                if each.view == view_name:
                    found[key] = replace(each, value=kept.get(each.feature.name), facts=(), uncounted=0)
    return found, tuple(others), tuple(lost)


def _open_person(house: House, snapshot: Snapshot, patient_id: str) -> "duckdb.DuckDBPyConnection":
    """Open the work bucket in which the person lies, with every column."""
    from integrations.duck import connect, lock
    from integrations.reading import WorkBuckets

    settings, lake = house.settings, house.lake
    settings.temp.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = connect(settings.temp, memory_limit_mb=settings.memory_limit_mb)
    lock(connection, settings.temp, settings.lake, settings.features)
    bucket = lake.work_bucket(connection, snapshot.versions, patient_id)
    lake.open_snapshot(connection, snapshot.versions, buckets=WorkBuckets(lake.bucket_count, (bucket,)), feeds=feeds())
    known = connection.execute("select 1 from patient where patient_id = ? limit 1", [patient_id]).fetchall()
    if not known:
        connection.close()
        raise WrongUsage(
            "nobody has this patient id",
            where="PATIENT_ID",
            to_do="write it with its source, as `rounds scores USE_CASE --json` shows it: demo_ehr/...",
        )
    return connection


def _newest_row(
    lake: "duckdb.DuckDBPyConnection", name: str, patient_id: str, as_of: datetime, encounter_id: str | None
) -> "pa.Table":
    """Find the newest cohort row of the person, of one stay where it is named."""
    from models.cohort import cohort, query

    rows = query(
        lake,
        """
        select rows.*
        from rows
        join same_person as p
            on p.other_patient_id = rows.patient_id
            and p.patient_id = $patient_id
            and p.available_at <= $as_of
            and $as_of < p.superseded_at
        where rows.prediction_time <= $as_of
        and coalesce(rows.encounter_id = $encounter_id, true)
        order by rows.prediction_time desc, rows.encounter_id
        limit 1
        """,
        rows=cohort(lake, use_case(name), as_of),
        patient_id=patient_id,
        encounter_id=encounter_id,
        as_of=as_of,
    )
    if rows.num_rows == 0:
        of_whom = "this stay of the patient" if encounter_id else "this patient"
        raise Refused(
            f"{name} has no row of {of_whom} at {as_of:%Y-%m-%d %H:%M} UTC or before",
            where=f"models/{name}/cohort.sql",
            to_do="give a later --as-of, or ask for another patient",
        )
    return rows
