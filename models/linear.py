"""A linear model whose risk is calibrated on patients it has not seen: what each feature adds can be read off it.

Each feature counts by two straight lines that meet at its middle value, since both a low and a high value may be a bad
sign; and by a flag where it was not measured. Values beyond the first and last hundredth count as these. By rank, a
value counts as the point of the normal distribution below which as many lie: a long tail is drawn in, and the order
of values, and so what a direction means, stays.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np

from models.calibrated import Calibrated
from models.calibration import Counts, Floats, to_risk

HUNDREDTHS = np.arange(1.0, 100.0)


class CalibratedLinear(Calibrated):
    """A penalised logistic regression and a calibration line.

    `penalty`: how strongly all slopes are held near 0, per row. `by_rank`: a value counts by its rank. `directions`:
    feature -> 1 where a higher value may only raise the risk, -1 where it may only lower it; whether it was measured is
    free of it.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        penalty: float = 0.1,
        by_rank: bool = False,
        min_value_rows: int = 20,
        directions: Mapping[str, int] | None = None,
        fold_count: int = 10,
        calibration_person_count: int = 500,
    ) -> None:
        self.seed = seed
        self.penalty = penalty
        self.by_rank = by_rank
        self.min_value_rows = min_value_rows
        self.directions = directions
        self.fold_count = fold_count
        self.calibration_person_count = calibration_person_count

    def rank(self, rows: Floats, labels: Counts, signs: Counts) -> "KinkedLines":
        """Return the lines, fitted."""
        lines = RankedLines() if self.by_rank else KinkedLines()
        return lines.fit(rows, labels, signs, penalty=self.penalty, min_value_rows=self.min_value_rows)


class KinkedLines:
    """For each feature the slope below its middle and the one above, and what it means that it was not measured."""

    def fit(self, rows: Floats, labels: Counts, signs: Counts, *, penalty: float, min_value_rows: int) -> Self:
        """Fit by a bounded quasi-Newton method from 0: the same solution for the same rows in the same order."""
        self._learn_scale(rows, min_value_rows)
        terms = self._terms(rows)
        self.means_ = terms.mean(axis=0)
        self.scales_ = self._spread(terms)
        self.weights_, self.base_ = _fit_weights((terms - self.means_) / self.scales_, labels, _bounds(signs), penalty)
        return self

    def _spread(self, terms: Floats) -> Floats:
        """By what each term is divided, before the slopes are held alike; a constant term counts for nothing."""
        spread = terms.std(axis=0)
        return np.where(spread > 1e-9, spread, np.inf)

    def decision_function(self, rows: Floats) -> Floats:
        """Return the margin of each row."""
        margins: Floats = self.base_ + self.contributions(rows).sum(axis=1)
        return margins

    def contributions(self, rows: Floats) -> Floats:
        """Return what each feature adds to the margin, beside a row of means: Shapley values of lines."""
        added = (self._terms(rows) - self.means_) / self.scales_ * self.weights_
        parts: Floats = added.reshape(len(rows), 3, -1).sum(axis=1)
        return parts

    def _learn_scale(self, rows: Floats, min_value_rows: int) -> None:
        """Learn middle, spread and ends of each feature; one that holds too few values counts as never measured."""
        is_known = (~np.isnan(rows)).sum(axis=0) >= max(1, min_value_rows)
        known = np.where(is_known, rows, 0.0)
        self.low_, self.middle_, self.high_ = np.nanpercentile(known, (1, 50, 99), axis=0)
        spread = np.nanstd(np.clip(known, self.low_, self.high_), axis=0)
        self.spread_ = np.where(is_known & (spread > 1e-9), spread, np.inf)

    def _terms(self, rows: Floats) -> Floats:
        is_missing = np.isnan(rows)
        values = np.where(is_missing, self.middle_, np.clip(rows, self.low_, self.high_))
        scaled = (values - self.middle_) / self.spread_
        return np.hstack([np.minimum(scaled, 0.0), np.maximum(scaled, 0.0), is_missing])


class RankedLines(KinkedLines):
    """The same over normal scores of the values; all are held alike, so what is seldom measured counts for less.

    A missing value counts as the middle one before values are ranked: so the few that were measured lie far from it.
    """

    def _learn_scale(self, rows: Floats, min_value_rows: int) -> None:
        """Learn the middle and the value at each hundredth; a feature that holds too few counts as never measured."""
        is_known = (~np.isnan(rows)).sum(axis=0) >= max(1, min_value_rows)
        self.middle_ = np.nanmedian(np.where(is_known, rows, 0.0), axis=0)
        self.points_ = np.where(is_known, np.percentile(self._filled(rows), HUNDREDTHS, axis=0), 0.0)

    def _spread(self, terms: Floats) -> Floats:
        return np.where(terms.std(axis=0) > 1e-9, 1.0, np.inf)

    def _terms(self, rows: Floats) -> Floats:
        scores = _normal_scores(self._filled(rows), self.points_)
        return np.hstack([np.minimum(scores, 0.0), np.maximum(scores, 0.0), np.isnan(rows)])

    def _filled(self, rows: Floats) -> Floats:
        return np.where(np.isnan(rows), self.middle_, rows)


def _normal_scores(values: Floats, points: Floats) -> Floats:
    """The point of the normal distribution below which as many lie; of equal values the middle of their hundredths."""
    from scipy.special import ndtri

    at = ndtri(HUNDREDTHS / 100)
    scores = np.zeros(values.shape)
    for column in np.flatnonzero(points[0] < points[-1]):
        these, known = values[:, column], points[:, column]
        scores[:, column] = (np.interp(these, known, at) - np.interp(-these, -known[::-1], at)) / 2
    return scores


def _bounds(signs: Counts) -> list[tuple[float | None, float | None]]:
    """The bounds of each weight: slopes below, slopes above, missing, and last the base."""
    slopes = [(0.0 if sign > 0 else None, 0.0 if sign < 0 else None) for sign in signs.tolist()]
    free: list[tuple[float | None, float | None]] = [(None, None)] * (len(slopes) + 1)
    return [*slopes, *slopes, *free]


def _fit_weights(
    terms: Floats, labels: Counts, bounds: list[tuple[float | None, float | None]], penalty: float
) -> tuple[Floats, float]:
    from scipy.optimize import minimize

    count = len(labels)

    def loss(weights: Floats) -> tuple[float, Floats]:
        linear = terms @ weights[:-1] + weights[-1]
        lack = to_risk(linear) - labels
        held = np.append(weights[:-1], 0.0) * penalty
        cost = (np.logaddexp(0.0, linear) - linear * labels).sum() / count + 0.5 * (held * weights).sum()
        return float(cost), np.append(terms.T @ lack, lack.sum()) / count + held

    share = np.clip(labels.mean(), 1e-6, 1 - 1e-6)
    start = np.append(np.zeros(terms.shape[1]), np.log(share / (1 - share)))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-10})
    weights: Floats = found.x
    return weights[:-1], float(weights[-1])
