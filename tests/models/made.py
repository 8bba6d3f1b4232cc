"""Cohorts with a known risk, made by hand: what stories and benches of the models are told on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.calibration import Counts, Floats, to_risk
from models.use_case import ChangePlan, Monitoring, PromotionGate, UseCase, WriteBack

INSTANT = pa.timestamp("us", tz="UTC")
FEATURES = (
    "labs:creatinine_mg_dl",
    "labs:sodium_mmol_l",
    "stay:age_years",
    "stay:is_female",
    "vitals:noise",
    "vitals:pulse",
)
NIGHT = datetime(2024, 7, 1, 6, tzinfo=UTC)


def small_estimator(seed: int) -> Any:
    """Few trees: the stories are about what is done with them."""
    from models.estimators import CalibratedGradientBoosting

    return CalibratedGradientBoosting(seed=seed, tree_count=25, learning_rate=0.15, leaf_count=5, fold_count=3)


USE_CASE = UseCase(
    name="back_soon",
    question="Will this patient be back within 30 days?",
    owner="tests",
    horizon=timedelta(days=30),
    max_age=timedelta(hours=72),
    schedule_hours=(6,),
    features=FEATURES,
    required=("labs:creatinine_mg_dl",),
    estimator=small_estimator,
    gate=PromotionGate(min_auroc_lower=0.60),
    monitoring=Monitoring(),
    change_plan=ChangePlan(may_change=(), needs_people=()),
    write_back=WriteBack(
        outcome_text="back",
        outcome_system="urn:test",
        outcome_code="back",
        bands=((0.0, "low"), (0.1, "moderate"), (0.25, "high")),
        threshold=0.25,
    ),
    subgroups=("is_female", "age_years"),
    folder=Path(__file__).parent,
)


def use_case(**changes: Any) -> UseCase:
    """Return the use case with something else in it."""
    return replace(USE_CASE, **changes)


def cohort(rows: int, *, seed: int = 0, patients: int = 0, base: float = -1.6) -> pa.Table:
    """Return a training frame over 900 days whose risk follows creatinine, sodium and age; a tenth is not measured."""
    random = np.random.default_rng(seed)
    person = random.integers(0, patients or max(rows // 2, 1), rows)
    values = random.normal(size=(rows, len(FEATURES)))
    values[:, 3] = random.random(rows) < 0.5
    risk = 1 / (1 + np.exp(-(base + 0.9 * values[:, 0] - 0.6 * values[:, 1] + 0.5 * values[:, 2])))
    values[random.random(values.shape) < 0.1] = np.nan
    at = np.datetime64("2022-01-01", "us") + np.sort(random.integers(0, 900 * 86_400, rows)).astype("timedelta64[s]")
    names = [feature.split(":")[1] for feature in FEATURES]
    return pa.table(
        {
            "site_id": ["demo"] * rows,
            "patient_id": [f"demo_ehr/p{number}" for number in person],
            "person_id": [f"demo_ehr/p{number}" for number in person],
            "encounter_id": [f"demo_ehr/e{number}" for number in range(rows)],
            "prediction_time": pa.array(at).cast(INSTANT),
            "horizon_starts_at": pa.nulls(rows, INSTANT),
            "label": pa.array(random.random(rows) < risk).cast(pa.int8()),
            "label_known_at": pa.array(at + np.timedelta64(31, "D")).cast(INSTANT),
            **{name: pa.array(values[:, column], from_pandas=True) for column, name in enumerate(names)},
        }
    )


def stays(persons: int, *, rows_each: int, seed: int) -> tuple[Floats, Counts, Counts]:
    """Return values, labels and persons: the rows of one patient are much alike and share one outcome.

    The log odds are -1.5 + 0.9 first + 0.6 second value.
    """
    random = np.random.default_rng(seed)
    patient = random.normal(size=(persons, 5))
    has_outcome = random.random(persons) < to_risk(-1.5 + 0.9 * patient[:, 0] + 0.6 * patient[:, 1])
    person = np.repeat(np.arange(persons), rows_each)
    values = patient[person] + 0.1 * random.normal(size=(len(person), 5))
    return values, has_outcome[person].astype(np.int64), person


def holds(*entries: tuple[str, datetime, str, str], only: tuple[str, ...] = ()) -> pa.Table:
    """Return what is held: encounter_id, prediction_time, view, reason; of each view all features, or `only` these."""
    columns = list(zip(*entries, strict=True)) or [(), (), (), ()]
    of_view = [
        [name for view, _, name in (each.partition(":") for each in FEATURES) if view == of] for of in columns[2]
    ]
    return pa.table(
        {
            "encounter_id": pa.array(columns[0], pa.string()),
            "prediction_time": pa.array(columns[1], INSTANT),
            "view": pa.array(columns[2], pa.string()),
            "features": pa.array([only or names for names in of_view], pa.list_(pa.string())),
            "reason": pa.array(columns[3], pa.string()),
        }
    )
