"""What all our models share: a margin that ranks the patients, and a line that makes a risk of it.

One fitted ranker gives each patient a margin (log odds); a straight line with a positive slope turns the margin into
the risk. The line is fitted on margins of patients who were left out (Platt 1999), so it never changes the ranking.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from integrations.errors import WrongUsage
from models.calibration import Counts, Floats, calibration_line, to_risk
from models.folds import person_folds, person_numbers

FEW_ROWS = 500_000  # below it one thread is fast enough, and does not spin while it waits for a busy machine


@contextmanager
def repeatable(row_count: int) -> Iterator[None]:
    """Fit within it: the same rows then give the same model to the bit, whatever threads the machine would give.

    A product of matrices adds up in another order for each number of threads, so it has one; trees do not.
    """
    few = 1 if row_count < FEW_ROWS else None
    with threadpool_limits(1, user_api="blas"), threadpool_limits(few, user_api="openmp"):
        yield


class Calibrated(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A ranker and a calibration line. Takes doubles, null as NaN; a column that was never measured is ignored.

    Folds are left out, one fit each, until `calibration_person_count` persons with the outcome have been. Persons:
    the rows of one stay say little more than one row. 500 give the slope a standard error of about 0.05. Few are left
    out at a time, so that these fits are nearly as good as the one that the line is for (docs/decisions/0008).
    Fitted on outcomes of one kind it has no ranker, and one risk for all: a gate never passes it.
    """

    seed: int
    fold_count: int
    calibration_person_count: int
    directions: Mapping[str, int] | None

    def fit(
        self,
        X: Floats,
        y: npt.ArrayLike,
        groups: npt.ArrayLike | None = None,
        *,
        feature_names: Sequence[str] = (),
        times: Floats | None = None,  # noqa: ARG002 - so that all our models are fitted alike
    ) -> Self:
        """Fit on rows whose label is 0 or 1. `groups` names the person of each row; without it each row is one.

        `directions` are of these feature names. `times`: when each row was predicted for, where dates mean something;
        only the choice between models looks at them. Raises WrongUsage for a direction of no feature, or of no sign.
        """
        rows, labels = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.int64)
        persons = person_numbers(np.arange(len(labels)) if groups is None else groups)
        signs = self.signs_of(feature_names, rows.shape[1])
        if len(np.unique(labels)) < 2:
            return self.settle_without_ranker(labels, rows.shape[1])
        with repeatable(len(rows)):
            left_out = self.left_out_margins(rows, labels, persons, signs)
            return self.settle(rows, labels, signs, left_out)

    def rank(self, rows: Floats, labels: Counts, signs: Counts) -> Any:
        """Return a fitted ranker: decision_function gives its margins. signs: +1, -1, or 0 where either may be."""
        raise NotImplementedError

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

    def signs_of(self, feature_names: Sequence[str], count: int) -> Counts:
        """Return the direction of each column, 0 where none is set."""
        directions = dict(self.directions or {})
        wrong = [name for name, sign in directions.items() if name not in feature_names or sign not in (-1, 1)]
        if wrong:
            raise WrongUsage(
                f"a direction is set for {wrong[0]}, which is no feature of the model, or it is neither 1 nor -1",
                where="estimator.py",
                to_do="name a feature of the use case, and 1 where more of it is more risk, else -1",
            )
        return np.array([directions.get(name, 0) for name in feature_names or [""] * count], dtype=np.int64)

    def settle(self, rows: Floats, labels: Counts, signs: Counts, left_out: tuple[Floats, Counts]) -> Self:
        """Fit the ranker on all rows, and the line on the margins and labels of those that were left out."""
        self.classes_, self.n_features_in_ = np.array([0, 1]), rows.shape[1]
        self.model_ = self.rank(rows, labels, signs)
        self.intercept_, self.slope_ = calibration_line(*left_out)
        return self

    def settle_without_ranker(self, labels: Counts, column_count: int) -> Self:
        """Nothing to rank by: everybody gets the share that was seen, half a row added."""
        self.classes_, self.n_features_in_ = np.array([0, 1]), column_count
        self.model_, self.slope_ = None, 1.0
        self.intercept_ = float(np.log((labels.sum() + 0.5) / (len(labels) - labels.sum() + 0.5)))
        return self

    def left_out_margins(self, rows: Floats, labels: Counts, persons: Counts, signs: Counts) -> tuple[Floats, Counts]:
        """Return the margins of persons who were left out of the fits that gave them, and their labels."""
        margins, known, person_count = [np.empty(0)], [np.empty(0, np.int64)], 0
        fold_of = person_folds(persons, labels, self.fold_count, self.seed)
        for fold in range(self.fold_count):
            left_out = fold_of == fold
            if person_count >= self.calibration_person_count:
                break
            if not left_out.any() or len(np.unique(labels[~left_out])) < 2:
                continue
            ranker = self.rank(rows[~left_out], labels[~left_out], signs)
            margins.append(ranker.decision_function(rows[left_out]))
            known.append(labels[left_out])
            person_count += len(np.unique(persons[left_out & (labels == 1)]))
        return np.concatenate(margins), np.concatenate(known)
