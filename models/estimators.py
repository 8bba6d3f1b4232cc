"""The model that both use cases start from: gradient boosting whose risk is calibrated on patients it has not seen.

One fitted model ranks the patients by a margin (log odds); a straight line with a positive slope turns the margin into
the risk. The line is fitted on margins of patients who were left out (Platt 1999), so it never changes the ranking.
"""

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.calibration import Counts, Floats, calibration_line, to_risk
from models.folds import person_folds, person_numbers

FEW_ROWS = 500_000  # below it one thread is fast enough, and does not spin while it waits for a busy machine


class CalibratedGradientBoosting(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Boosted trees and a calibration line. Takes doubles, null as NaN; a column that was never measured is ignored.

    Folds are left out, one fit each, until `calibration_person_count` persons with the outcome have been. Persons:
    the rows of one stay say little more than one row. 500 give the slope a standard error of about 0.05. Few are left
    out at a time, so that these fits are nearly as good as the one that the line is for (docs/decisions/0008).
    Fitted on outcomes of one kind it has no trees, and one risk for all: a gate never passes it.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        learning_rate: float = 0.05,
        tree_count: int = 150,
        leaf_count: int = 8,
        min_leaf_rows: int = 20,
        fold_count: int = 10,
        calibration_person_count: int = 500,
    ) -> None:
        self.seed = seed
        self.learning_rate = learning_rate
        self.tree_count = tree_count
        self.leaf_count = leaf_count
        self.min_leaf_rows = min_leaf_rows
        self.fold_count = fold_count
        self.calibration_person_count = calibration_person_count

    def fit(self, X: Floats, y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Fit on rows whose label is 0 or 1. `groups` names the person of each row; without it each row is one."""
        labels = np.asarray(y, dtype=np.int64)
        persons = person_numbers(np.arange(len(labels)) if groups is None else groups)
        rows = _without_empty_columns(np.asarray(X, dtype=np.float64), self.min_leaf_rows)
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = rows.shape[1]
        if len(np.unique(labels)) < 2:  # nothing to rank by: everybody gets the share that was seen, half a row added
            self.model_, self.slope_ = None, 1.0
            self.intercept_ = float(np.log((labels.sum() + 0.5) / (len(labels) - labels.sum() + 0.5)))
            return self
        with threadpool_limits(1 if len(rows) < FEW_ROWS else None, "openmp"):
            self.model_ = self._trees().fit(rows, labels)
            margins, known = self._left_out_margins(rows, labels, persons)
        self.intercept_, self.slope_ = calibration_line(margins, known)
        return self

    def margin(self, X: Floats) -> Floats:
        """Return the log odds before calibration: what explanations add up to."""
        if self.model_ is None:
            return np.zeros(len(X))
        margins: Floats = self.model_.decision_function(X)
        return margins

    def predict_proba(self, X: Floats) -> Floats:
        """Return the risk of each row in the second column, as scikit-learn has it."""
        risk = to_risk(self.intercept_ + self.slope_ * self.margin(X))
        return np.column_stack([1.0 - risk, risk])

    def predict(self, X: Floats) -> Counts:
        """Return 1 where the risk is one half or more."""
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(np.int64)

    def _trees(self) -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.tree_count,
            max_leaf_nodes=self.leaf_count,
            min_samples_leaf=self.min_leaf_rows,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )

    def _left_out_margins(self, rows: Floats, labels: Counts, persons: Counts) -> tuple[Floats, Counts]:
        margins, known, person_count = [np.empty(0)], [np.empty(0, np.int64)], 0
        fold_of = person_folds(persons, labels, self.fold_count, self.seed)
        for fold in range(self.fold_count):
            left_out = fold_of == fold
            if person_count >= self.calibration_person_count:
                break
            if not left_out.any() or len(np.unique(labels[~left_out])) < 2:
                continue
            model = self._trees().fit(_without_empty_columns(rows[~left_out], self.min_leaf_rows), labels[~left_out])
            margins.append(model.decision_function(rows[left_out]))
            known.append(labels[left_out])
            person_count += len(np.unique(persons[left_out & (labels == 1)]))
        return np.concatenate(margins), np.concatenate(known)


def _without_empty_columns(rows: Floats, min_leaf_rows: int) -> Floats:
    """Put 0 where a column holds fewer values than a leaf must: it can never be split on, and the trees cannot bin it.

    Bins come from a sample of 200,000 rows, in which one value in a thousand is sure to be met.
    """
    empty = (~np.isnan(rows)).sum(axis=0) < max(min_leaf_rows, len(rows) // 1000)
    if not empty.any():
        return rows
    filled = rows.copy()
    filled[:, empty] = 0.0
    return filled
