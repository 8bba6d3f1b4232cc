"""Cohort rows told in a line each, and a snapshot of a few facts: what stories of cohorts are told on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from integrations.duck import connect
from integrations.snapshot import Feed
from models.cases import Cases, open_stories
from models.catalog import use_case

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")
READMISSION = use_case("readmission_30d")
Lake = duckdb.DuckDBPyConnection


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rows_of(*lines: tuple[str, str, str | None], lapsed: str | None = None) -> pa.Table:
    """Cohort rows from (stay, time, reason of exclusion); all lapsed for one reason, or none."""
    return pa.table(
        {
            "site_id": pa.array(["demo"] * len(lines), pa.string()),
            "patient_id": pa.array([f"ehr/{name}" for name, _, _ in lines], pa.string()),
            "encounter_id": pa.array([f"ehr/{name}" for name, _, _ in lines], pa.string()),
            "prediction_time": pa.array([at(time) for _, time, _ in lines], INSTANT),
            "excluded_reason": pa.array([reason for _, _, reason in lines], pa.string()),
            "lapsed_reason": pa.array([lapsed] * len(lines), pa.string()),
            "horizon_starts_at": pa.array([at(time) - timedelta(hours=9) for _, time, _ in lines], INSTANT),
        }
    )


def keys_of(*lines: tuple[str, str], is_by_round: bool = True) -> pa.Table:
    keys = rows_of(*((name, time, None) for name, time in lines)).select(["encounter_id", "prediction_time"])
    return keys.append_column("is_by_round", pa.array([is_by_round] * len(lines), pa.bool_()))


def told(table: pa.Table) -> list[tuple[str, str]]:
    return [(row["encounter_id"], f"{row['prediction_time']:%d %H:%M}") for row in table.to_pylist()]


def opened(folder: Path, facts: dict[str, list[dict[str, object]]], *feeds: Feed) -> Lake:
    cases = {"time_zone": "UTC", "lateness_hours": {"ehr": 24}, "as_of": "2024-06-01", "cases": []}
    cases["cases"] = [{"story": "one", "facts": facts, "expect": {}}]
    connection = connect(folder / "tmp", threads=1)
    open_stories(connection, Cases.model_validate(cases), folder)
    return connection
