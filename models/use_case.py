"""What a use case must say about itself. A folder of models/ whose use_case.py declares USE_CASE is one."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PromotionGate:
    """The bar a candidate must pass before people are asked. Figures of 95 % intervals, resampled by patient."""

    min_outcomes: int = 100
    min_rows: int = 500
    min_auroc_lower: float
    slope_range: tuple[float, float] = (0.8, 1.25)
    observed_expected_range: tuple[float, float] = (0.8, 1.25)
    min_subgroup_outcomes: int = 30


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """When a window of live scores counts as drifted from the reference."""

    window_nights: int = 7
    # Outcomes are judged on rows of the last 90 nights: two months of closed 30-day windows. What is older says how the
    # version was, and hides for as long how it is.
    outcome_nights: int = 90
    min_rows: int = 200
    psi_threshold: float = 0.2
    reference_resamples: int = 200
    breaches_of_last: tuple[int, int] = (2, 3)  # 2 of the last 3 windows, the newest among them


@dataclass(frozen=True, kw_only=True)
class ChangePlan:
    """What a retraining may change by itself, and what needs a person."""

    may_change: tuple[str, ...]
    needs_people: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WriteBack:
    """How a score stands in the EHR as a RiskAssessment."""

    outcome_text: str
    outcome_system: str
    outcome_code: str
    bands: tuple[
        tuple[float, str], ...
    ]  # (from probability, band), ascending, first from 0; bands of risk-probability: low, moderate, high
    threshold: float  # working threshold: at or above it someone acts


@dataclass(frozen=True, kw_only=True)
class UseCase:
    """One question asked of patients, again and again."""

    name: str
    question: str
    owner: str
    horizon: timedelta
    max_age: timedelta  # live: older prediction_times are scored with purpose backfill
    schedule_hours: tuple[int, ...]  # hospital time, hours of the day at which a round is due; as in prefect.yaml
    features: tuple[str, ...]  # "feature_view:feature"
    # Features without which no score is made: held, it is held; not measured, excluded. None: only who has nothing is.
    required: tuple[str, ...]
    # Features that say who the patient is or where they lie, and measure nothing of how they are. Where none is
    # required, who has no other is excluded: whatever the model said would not be of this patient.
    descriptors: tuple[str, ...] = ()
    estimator: Callable[[int], Any] = field(repr=False)  # seed -> unfitted scikit-learn pipeline
    gate: PromotionGate
    monitoring: Monitoring
    change_plan: ChangePlan
    write_back: WriteBack
    subgroups: tuple[str, ...] = ()  # features by which the gate shows subgroups
    folder: Path

    @property
    def cohort_sql(self) -> str:
        """Who is predicted for, and when: the columns of models/cohort.py, COHORT_COLUMNS."""
        return (self.folder / "cohort.sql").read_text(encoding="utf-8")

    @property
    def label_sql(self) -> str:
        """What came of it: encounter_id, prediction_time, label, label_known_at, label_reason, event_at."""
        return (self.folder / "label.sql").read_text(encoding="utf-8")

    @property
    def outcome_codes(self) -> tuple[str, ...]:
        """The LOINC codes that label.sql names: without their results nobody knows what came of a row."""
        return tuple(sorted(set(re.findall(r"'(\d{1,5}-\d)'", self.label_sql))))

    @property
    def measured(self) -> tuple[str, ...]:
        """The features that measure how the patient is: all that are no descriptors, without their view."""
        return tuple(name.split(":")[1] for name in self.features if name not in self.descriptors)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features without their view, in the order in which the model takes them."""
        return tuple(name.split(":")[1] for name in self.features)
