"""Explain the features of one patient: find the row that is meant, and open no more of the lake than the person."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows.build_features import views_of
from flows.house import House, Snapshot, feeds
from integrations.errors import Refused, WrongUsage
from models.catalog import use_case

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from features.explained import ExplainedFeature


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One cohort row and its features, in the order of the use case."""

    row: dict[str, Any]
    snapshot_id: int
    features: "tuple[ExplainedFeature, ...]"


def explain(house: House, name: str, patient_id: str, as_of: datetime, encounter_id: str | None) -> Explained:
    """Explain each feature of the newest cohort row of a patient at as_of or before.

    Raises WrongUsage for a patient whom nobody knows, Refused where the use case has no row of them.
    """
    from features.definitions import view
    from features.explained import explain_view

    case, snapshot = use_case(name), house.newest_snapshot()
    lake = _open_person(house, snapshot, patient_id)
    try:
        row = _newest_row(lake, name, patient_id, as_of, encounter_id)
        spine = row.select(["site_id", "patient_id", "encounter_id", "prediction_time"])
        found = [
            each
            for view_name in views_of(case)
            for each in explain_view(lake, view(view_name), spine, house.settings.temp)
        ]
    finally:
        lake.close()
    by_name = {f"{each.view}:{each.feature.name}": each for each in found}
    features = tuple(by_name[reference] for reference in case.features)
    return Explained(row=row.to_pylist()[0], snapshot_id=snapshot.snapshot_id, features=features)


def _open_person(house: House, snapshot: Snapshot, patient_id: str) -> "duckdb.DuckDBPyConnection":
    """Open the work bucket in which the person lies, with every column."""
    from integrations.duck import connect, lock
    from integrations.identity import bucket_of, work_buckets
    from integrations.snapshot import WorkBuckets

    settings, lake = house.settings, house.lake
    settings.temp.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = connect(settings.temp, memory_limit_mb=settings.memory_limit_mb)
    lock(connection, settings.temp, settings.lake, settings.features)
    lake.open_links(connection, snapshot.versions)
    moved = work_buckets(connection, lake.bucket_count, "every_patient_link")
    bucket = moved.get(patient_id, bucket_of(patient_id, lake.bucket_count))
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
