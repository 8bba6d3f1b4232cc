"""The gate: what a candidate must show on patients it has not seen before people are asked."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from models.figures import Figure, Figures
from models.use_case import PromotionGate

Verdict = Literal["pass", "fail", "not enough data"]


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """The figures of some of the held-out rows; only counts when there are too few outcomes to show more."""

    name: str
    rows: int
    outcomes: int
    auroc: Figure | None
    observed_expected: Figure | None


@dataclass(frozen=True, kw_only=True)
class ChampionComparison:
    """Champion minus candidate AUROC, paired, on the held-out rows that neither was fitted on."""

    version: int
    rows: int
    outcomes: int
    difference: Figure


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the held-out rows say about a candidate, the gate's verdict, and why, in sentences."""

    use_case: str
    design: str  # how the rows were held out, in a sentence
    held_out_from: datetime | None  # none: by patient alone
    unscored_row_count: int  # held-out rows whose fold could not be fitted
    figures: Figures | None  # none: no row could be held out
    subgroups: tuple[Subgroup, ...]
    champion: ChampionComparison | None
    gate: Verdict
    reasons: tuple[str, ...]
    held_out: pa.Table = field(repr=False)  # encounter_id, prediction_time, person_id, label, probability

    def to_json(self) -> dict[str, Any]:
        """Everything but the rows, in the plain types of JSON; instants as ISO 8601."""
        whole = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "held_out"}
        return {name: _plain(value) for name, value in whole.items()}

    def metrics(self) -> dict[str, float]:
        """The figures that can be computed, by name."""
        found = asdict(self.figures) if self.figures else {}
        values = {name: figure["value"] if isinstance(figure, dict) else figure for name, figure in found.items()}
        return {name: float(value) for name, value in values.items() if value is not None}


def judge(
    gate: PromotionGate, figures: Figures | None, champion: ChampionComparison | None
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons, those that decide first."""
    rows, outcomes = (figures.rows, figures.outcomes) if figures else (0, 0)
    if figures is None or rows < gate.min_rows or outcomes < gate.min_outcomes:
        few = (
            f"There are too few patients to judge: {rows} held-out rows with {outcomes} outcomes; "
            f"the gate asks for at least {gate.min_rows} rows and {gate.min_outcomes} outcomes."
        )
        return "not enough data", (few,)
    checks = list(_checks(gate, figures, champion))
    failed = tuple(sentence for is_met, sentence in checks if not is_met)
    met = tuple(sentence for is_met, sentence in checks if is_met)
    return ("fail" if failed else "pass"), failed + met


def _checks(gate: PromotionGate, figures: Figures, champion: ChampionComparison | None) -> Iterator[tuple[bool, str]]:
    lower = figures.auroc.lower
    is_met = lower is not None and lower >= gate.min_auroc_lower
    yield (
        is_met,
        (
            f"AUROC is {figures.auroc}; its lower bound {'reaches' if is_met else 'does not reach'} "
            f"{gate.min_auroc_lower:.2f}."
        ),
    )
    yield _within("The calibration slope", figures.calibration_slope, gate.slope_range)
    yield _within("Observed over expected outcomes", figures.observed_expected, gate.observed_expected_range)
    if champion is not None:
        yield _against_champion(champion)


def _within(name: str, figure: Figure, limits: tuple[float, float]) -> tuple[bool, str]:
    low, high = limits
    is_met = figure.value is not None and low <= figure.value <= high
    return is_met, f"{name} is {figure}, {'within' if is_met else 'outside'} {low:g} to {high:g}."


def _against_champion(champion: ChampionComparison) -> tuple[bool, str]:
    what = f"Champion version {champion.version} minus candidate AUROC"
    if champion.difference.lower is None:
        few = f"{champion.rows} rows that neither was fitted on, {champion.outcomes} outcomes"
        return True, f"{what} cannot be computed: {few}."
    is_met = champion.difference.lower <= 0
    verdict = "the candidate is not shown to be worse" if is_met else "the candidate is worse"
    return is_met, f"{what} is {champion.difference} on {champion.rows} rows: {verdict}."


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
