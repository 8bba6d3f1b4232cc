"""Two stays of two patients, and the spine of them."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from integrations.duck import connect
from models.cases import Cases, open_stories

INSTANT = pa.timestamp("us", "UTC")
FACTS = {
    "patient": [{"id": "p1", "birth_date": "1950-01-01"}, {"id": "p2", "birth_date": "1960-01-01"}],
    "encounter": [
        {"id": "e1", "patient": "p1", "started_at": "2024-01-01"},
        {"id": "e2", "patient": "p2", "started_at": "2024-01-02"},
    ],
    "observation": [
        {"patient": "p1", "code": "2160-0", "value_number": 1.0, "effective_at": "2024-01-01 06:00"},
        {"patient": "p1", "code": "2160-0", "value_number": 1.4, "effective_at": "2024-01-03 06:00"},
    ],
}


def night(day: int) -> datetime:
    return datetime(2024, 1, day, 12, tzinfo=UTC)


def spine_of(*rows: tuple[str, int], **more: list[object]) -> pa.Table:
    """A spine from (stay, day); p1 has e1, p2 has e2."""
    return spine_at(*((name, night(day)) for name, day in rows), **more)


def spine_at(*rows: tuple[str, datetime], **more: list[object]) -> pa.Table:
    """A spine from (stay, time)."""
    columns = {
        "site_id": pa.array(["demo"] * len(rows), pa.string()),
        "patient_id": pa.array([f"ehr/000.p{name[1]}" for name, _ in rows], pa.string()),
        "encounter_id": pa.array([f"ehr/000.{name}" for name, _ in rows], pa.string()),
        "prediction_time": pa.array([at for _, at in rows], INSTANT),
    }
    return pa.table({**columns, **more})


def opened(folder: Path) -> duckdb.DuckDBPyConnection:
    """The canonical relations of both stays."""
    cases = {"time_zone": "UTC", "lateness_hours": {"ehr": 24}, "as_of": "2024-06-01"}
    story = {"story": "one", "facts": FACTS, "expect": {}}
    connection = connect(folder / "tmp", threads=1)
    open_stories(connection, Cases.model_validate({**cases, "cases": [story]}), folder)
    return connection
