"""A use case of three inputs, a hospital that can be told to drift, and the records of its watch."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import insert

from integrations.records import Records
from integrations.records.schema import run
from models.monitoring.findings import Finding
from models.monitoring.monitor import monitor
from models.monitoring.reference import build_reference
from models.monitoring.result import MonitoringResult
from models.use_case import ChangePlan, Monitoring, PromotionGate, UseCase, WriteBack

NIGHT = datetime(2024, 7, 15, 6, tzinfo=UTC)
FEATURES = ("age_years", "creatinine_last_mg_dl", "is_female")
Watch = Callable[..., MonitoringResult]


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    return UseCase(
        name="readmission_30d",
        question="Will this patient come back?",
        owner="care transitions",
        horizon=timedelta(days=30),
        max_age=timedelta(hours=72),
        schedule_hours=(6,),
        features=tuple(f"view:{name}" for name in FEATURES),
        required=(),
        estimator=replace,
        gate=PromotionGate(min_auroc_lower=0.6),
        monitoring=Monitoring(),
        change_plan=ChangePlan(may_change=(), needs_people=()),
        write_back=WriteBack(outcome_text="", outcome_system="", outcome_code="", bands=((0.0, "low"),), threshold=0.2),
        folder=tmp_path,
    )


def rows(
    count: int,
    *,
    seed: int,
    end: datetime = NIGHT,
    creatinine_times: float = 1.0,
    unmeasured: float = 0.1,
    outcome_times: float = 1.0,
    risk_is_worth: bool = True,
) -> pa.Table:
    """Rows of the last seven nights; creatinine may change its unit, go missing, and risks may stop being true."""
    random = np.random.default_rng(seed)
    moments = [end - timedelta(hours=float(hours)) for hours in random.uniform(1, 160, count)]
    creatinine = random.lognormal(0, 0.4, count) * creatinine_times
    creatinine[random.random(count) < unmeasured] = np.nan
    probability = random.beta(2, 8, count)
    truth = probability if risk_is_worth else np.full(count, probability.mean())
    instants = pa.array(moments, pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "patient_id": [f"demo_ehr/p{number:07d}" for number in random.integers(0, count, count)],
            "prediction_time": instants,
            "age_years": random.normal(60, 15, count),
            "creatinine_last_mg_dl": creatinine,
            "is_female": random.integers(0, 2, count).astype(float),
            "probability": probability,
            "label": (random.random(count) < truth * outcome_times).astype(np.int8),
            "label_known_at": instants,
        }
    )


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    return build_reference(rows(4000, seed=1), FEATURES)


@pytest.fixture
def watch(sqlite_records: Records, use_case: UseCase, reference: dict[str, Any], home: Path) -> Watch:
    """`watch(night, window_rows)` monitors version 3 on the morning after that night."""
    return watcher(sqlite_records, use_case, reference, home)


@pytest.fixture
def watch_both(records: Records, use_case: UseCase, reference: dict[str, Any], home: Path) -> Watch:
    """The same, in SQLite and in Postgres."""
    return watcher(records, use_case, reference, home)


def watcher(records: Records, use_case: UseCase, reference: dict[str, Any], home: Path) -> Watch:
    def look(
        night: int,
        window: pa.Table,
        *,
        matured: pa.Table | None = None,
        findings: tuple[Finding, ...] = (),
        with_report: bool = False,
        version: int = 3,
        later: timedelta = timedelta(0),
    ) -> MonitoringResult:
        run_id = uuid4().hex
        with records.begin() as connection:
            connection.execute(
                insert(run).values(run_id=run_id, kind="monitor", as_of=NIGHT, started_at=NIGHT, status="running")
            )
        return monitor(
            records,
            use_case,
            version=version,
            window=window,
            reference=reference,
            matured=rows(0, seed=0) if matured is None else matured,
            findings=findings,
            as_of=NIGHT + timedelta(days=night) + later,
            reports=home / "reports",
            run_id=run_id,
            with_report=with_report,
            time_zone=ZoneInfo("America/Chicago"),
        )

    return look
