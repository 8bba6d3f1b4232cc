"""What lies in quarantine holds a round and a training; after its release the stay is due once more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlalchemy import Connection, insert, update

from flows.due import Round, released_rows, with_released
from flows.house import Snapshot
from flows.train import held_rows
from integrations.duck import connect
from integrations.records import Records
from integrations.records import schema as s
from integrations.snapshot import Feed
from models.cases import open_facts
from models.catalog import use_case

T = datetime(2024, 7, 5, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
THIS = Round(
    case=use_case("aki_48h"),
    as_of=T + 2 * HOUR,
    snapshot=Snapshot(snapshot_id=1, versions={}),
    version=1,
    is_champion=True,
    all_due=False,
)


def test_a_held_stay_is_due_again_at_the_release_and_a_scored_one_is_not(
    sqlite_records: Records, tmp_path: Path
) -> None:
    lake = _hospital(tmp_path)
    with sqlite_records.begin() as connection:
        _put(connection)
    rows = pa.table(
        {
            "site_id": ["demo", "demo"],
            "patient_id": ["ehr/p1", "ehr/p2"],
            "encounter_id": ["ehr/e1", "ehr/e2"],
            "prediction_time": pa.array([T, T], pa.timestamp("us", "UTC")),
            "excluded_reason": pa.array([None, None], pa.string()),
            "lapsed_reason": pa.array([None, None], pa.string()),
            "horizon_starts_at": pa.array([None, None], pa.timestamp("us", "UTC")),
        }
    )
    with sqlite_records.read() as connection:
        assert with_released(lake, THIS, rows, released_rows(connection, lake, THIS, rows)) == rows
    with sqlite_records.begin() as connection:
        connection.execute(update(s.quarantine).values(released_at=T + HOUR, released_by="superseded"))
    with sqlite_records.read() as connection:
        again = with_released(lake, THIS, rows, released_rows(connection, lake, THIS, rows)).slice(2)
    assert again.select(["encounter_id", "prediction_time"]).to_pylist() == [
        {"encounter_id": "ehr/e1", "prediction_time": T + HOUR}
    ]


def test_training_drops_rows_whose_features_or_outcome_are_held(sqlite_records: Records, tmp_path: Path) -> None:
    lake = _hospital(tmp_path)
    with sqlite_records.begin() as connection:
        _put(connection)  # creatinines collected an hour before T
    rows = pa.table(
        {
            "site_id": ["demo"] * 4,
            "patient_id": ["ehr/p1"] * 4,
            "encounter_id": ["ehr/e1"] * 4,
            "prediction_time": pa.array(
                [T - 50 * HOUR, T - 49 * HOUR, T, T + 7 * 24 * HOUR], pa.timestamp("us", "UTC")
            ),
        }
    )
    for name in THIS.case.feature_names:
        rows = rows.append_column(name, pa.array([1.0] * 4))
    with sqlite_records.read() as connection:
        held = held_rows(connection, lake, replace(THIS, as_of=T + 30 * 24 * HOUR), rows)
    assert held["prediction_time"].to_pylist() == [T, T - 49 * HOUR]


def _hospital(folder: Path) -> duckdb.DuckDBPyConnection:
    """Two patients in the house, each with a creatinine."""
    lake = connect(folder / "tmp", threads=1)
    feed = Feed(source="ehr", site_id="demo", time_zone="UTC", lateness=24 * HOUR)
    here = {"source": "ehr", "site_id": "demo", "is_retracted": False, "available_at": T - 99 * HOUR}
    names = ("ehr/p1", "ehr/p2")
    patients: list[dict[str, object]] = [
        {**here, "patient_id": name, "extract_id": "x", "source_file": name, "source_line": 1} for name in names
    ]
    rows: dict[str, list[dict[str, object]]] = {"patient": patients, "encounter": [], "observation": []}
    for patient in names:
        fact = {**here, "patient_id": patient, "extract_id": "x", "source_file": "f", "source_line": 1}
        stay = {"encounter_id": patient.replace("/p", "/e"), "class": "inpatient", "started_at": T - 20 * HOUR}
        creatinine = {"observation_id": f"{patient}.o", "code": "2160-0", "value_number": 1.0}
        rows["encounter"].append({**fact, **stay})
        rows["observation"].append({**fact, **creatinine, "effective_at": T - 10 * HOUR})
    open_facts(lake, rows, [feed], folder)
    return lake


def _put(connection: Connection) -> None:
    """A held score of e1 and a made one of e2, and a quarantined creatinine of each patient."""
    extract = {"extract_id": "x", "source": "ehr", "site_id": "demo", "received_at": T, "digest": "x"}
    connection.execute(insert(s.extract).values(**extract, is_history=0, status="landed"))
    connection.execute(insert(s.snapshot).values(snapshot_id=1, created_at=T, versions={}))
    connection.execute(insert(s.run).values(run_id="r", kind="score", as_of=T, started_at=T, status="done"))
    for name, status, probability in (("1", "held", None), ("2", "scored", 0.1)):
        connection.execute(
            insert(s.score).values(
                score_id=name,
                run_id="r",
                site_id="demo",
                use_case="aki_48h",
                patient_id=f"ehr/p{name}",
                encounter_id=f"ehr/e{name}",
                source_encounter_id=f"e{name}",
                prediction_time=T,
                version=1,
                purpose="silent",
                stage="silent",
                status=status,
                probability=probability,
                reasons=[],
                manifest_hash="x",
                view_versions={},
                snapshot_id=1,
                scored_at=T,
            )
        )
        connection.execute(
            insert(s.quarantine).values(
                extract_id="x",
                source="ehr",
                table_name="observation",
                source_file="f",
                source_line=1,
                reason="impossible_value",
                detail="",
                record_hash="x",
                bytes=b"",
                patient_id=f"ehr/p{name}",
                code="2160-0",
                effective_at=T - HOUR,
                quarantined_at=T - HOUR,
            )
        )
