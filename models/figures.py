"""How well risks agree with outcomes, each figure with its 95 % interval. Intervals resample persons, never rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.calibration import Counts, Floats, calibration_line, to_margin, to_risk

RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure with its 95 % interval; none where it cannot be computed."""

    value: float | None
    lower: float | None
    upper: float | None

    def __str__(self) -> str:
        if self.value is None:
            return "not computable"
        if self.lower is None or self.upper is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} (95 % interval {self.lower:.3f} to {self.upper:.3f})"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one set of rows.

    calibration_slope is 1 when high risks are as high, and low ones as low, as they should be; calibration_intercept is
    the shift of log odds that would make the mean risk right (slope held at 1), 0 when it is.
    """

    rows: int
    persons: int
    outcomes: int
    auroc: Figure
    calibration_slope: Figure
    calibration_intercept: Figure
    observed_expected: Figure
    brier: Figure


def measure(labels: Counts, risk: Floats, persons: Counts, *, seed: int, resamples: int = RESAMPLES) -> Figures:
    """Return all figures of rows with known outcome. `persons` numbers the person of each row from 0."""
    rank, sums = Ranking.of(labels, risk, persons), _PersonSums.of(labels, risk, persons)
    measures = {"auroc": rank.auroc} | {name: getattr(sums, name) for name in _TOTALS}
    figures = _with_intervals(measures, rank.person_count, seed, resamples)
    return Figures(rows=len(labels), persons=rank.person_count, outcomes=int(labels.sum()), **figures)


def auroc_difference(
    labels: Counts, champion: Floats, candidate: Floats, persons: Counts, *, seed: int, resamples: int = RESAMPLES
) -> Figure:
    """Return champion minus candidate, both on the same rows and the same resamples."""
    first, second = Ranking.of(labels, champion, persons), Ranking.of(labels, candidate, persons)
    measures = {"difference": lambda counts: first.auroc(counts) - second.auroc(counts)}
    return _with_intervals(measures, first.person_count, seed, resamples)["difference"]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Rows sorted by risk once, so that the AUROC of any resample of persons is a sum along them."""

    person_count: int
    person: Counts  # of each row, by ascending risk
    is_outcome: Any
    outcome_person: Counts
    first_equal: Counts  # for each outcome: where the rows of the same risk begin
    after_equal: Counts  # and where they end

    @classmethod
    def of(cls, labels: Counts, risk: Floats, persons: Counts) -> "Ranking":
        """Sort the rows."""
        order = np.argsort(risk, kind="stable")
        ordered, is_outcome = risk[order], labels[order] == 1
        outcome_risk = ordered[is_outcome]
        return cls(
            person_count=int(persons.max()) + 1 if len(persons) else 0,
            person=persons[order],
            is_outcome=is_outcome,
            outcome_person=persons[order][is_outcome],
            first_equal=np.searchsorted(ordered, outcome_risk, side="left"),
            after_equal=np.searchsorted(ordered, outcome_risk, side="right"),
        )

    def auroc(self, counts: Floats) -> float:
        """Return how often a row with the outcome has the higher risk, when person p counts `counts[p]` times."""
        others = counts[self.person]
        others[self.is_outcome] = 0.0
        below = np.concatenate([[0.0], np.cumsum(others)])
        outcomes = counts[self.outcome_person]
        pairs = outcomes.sum() * below[-1]
        if not pairs:
            return float("nan")
        return float((outcomes * (below[self.first_equal] + below[self.after_equal])).sum() / (2.0 * pairs))


_TOTALS = ("calibration_slope", "calibration_intercept", "observed_expected", "brier")


@dataclass(frozen=True, kw_only=True)
class _PersonSums:
    """Sums per person, from which every figure but the AUROC follows.

    The calibration line of a resample is one Newton step away from the line of all rows.
    """

    sums: Floats  # person x (rows, outcomes, risk, squared error, then gradients and curvatures of the two lines)
    slope: float
    intercept: float

    @classmethod
    def of(cls, labels: Counts, risk: Floats, persons: Counts) -> "_PersonSums":
        margin = to_margin(risk)
        line = calibration_line(margin, labels, prior_weight=0.0, min_slope=-20.0)
        shift = _shift(margin, labels)
        fitted, shifted = to_risk(line[0] + line[1] * margin), to_risk(shift + margin)
        weight = fitted * (1 - fitted)
        columns = (
            np.ones(len(labels)), labels, risk, (labels - risk) ** 2,
            labels - fitted, (labels - fitted) * margin, weight, weight * margin, weight * margin**2,
            labels - shifted, shifted * (1 - shifted),
        )  # fmt: skip
        sums = np.column_stack([np.bincount(persons, weights=column) for column in columns]).astype(np.float64)
        return cls(sums=sums, slope=line[1], intercept=shift)

    def calibration_slope(self, counts: Floats) -> float:
        g0, g1, h00, h01, h11 = self._totals(counts, slice(4, 9))
        determinant = h00 * h11 - h01 * h01
        return self.slope + (h00 * g1 - h01 * g0) / determinant if determinant > 1e-12 else float("nan")

    def calibration_intercept(self, counts: Floats) -> float:
        gradient, curvature = self._totals(counts, slice(9, 11))
        return self.intercept + gradient / curvature if curvature > 1e-12 else float("nan")

    def observed_expected(self, counts: Floats) -> float:
        observed, expected = self._totals(counts, slice(1, 3))
        return observed / expected if expected > 0 else float("nan")

    def brier(self, counts: Floats) -> float:
        rows, _, _, squared_error = self._totals(counts, slice(0, 4))
        return squared_error / rows

    def _totals(self, counts: Floats, columns: slice) -> list[float]:
        """Add the persons up in this thread: for sums this short, threads cost more than they bring."""
        totals: list[float] = np.einsum("p,pc->c", counts, self.sums[:, columns]).tolist()
        return totals


def _shift(margin: Floats, labels: Counts) -> float:
    """Return the shift of all log odds that makes expected equal observed, by bisection; none exists for one class."""
    if labels.min() == labels.max():
        return float("nan")
    low, high, observed = -20.0, 20.0, float(labels.sum())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if to_risk(margin + middle).sum() < observed else (low, middle)
    return (low + high) / 2


def _with_intervals(
    measures: dict[str, Callable[[Floats], float]], person_count: int, seed: int, resamples: int
) -> dict[str, Figure]:
    """Compute each measure with every person counted once, and its spread when persons are drawn with replacement."""
    if not person_count:
        return {name: _figure(float("nan"), np.empty(0)) for name in measures}
    random = np.random.default_rng(seed)
    values = {name: measure(np.ones(person_count)) for name, measure in measures.items()}
    drawn: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(resamples):
        persons = random.integers(0, person_count, person_count)
        counts = np.bincount(persons, minlength=person_count).astype(np.float64)
        for name, measure in measures.items():
            drawn[name].append(measure(counts))
    return {name: _figure(values[name], np.array(drawn[name])) for name in measures}


def _figure(value: float, resampled: Floats) -> Figure:
    resampled = resampled[~np.isnan(resampled)]
    if np.isnan(value):
        return Figure(value=None, lower=None, upper=None)
    if len(resampled) < 2:
        return Figure(value=value, lower=None, upper=None)
    lower, upper = np.percentile(resampled, [2.5, 97.5])
    return Figure(value=value, lower=float(lower), upper=float(upper))
