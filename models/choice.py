"""The choice between models by cross-validation: by patient, and on later rows where dates mean something."""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from models.calibrated import Calibrated, repeatable
from models.calibration import Counts, Floats, calibration_line, to_risk
from models.folds import person_folds, person_numbers

HELD_OUT_SHARE = 0.2  # of time, the newest, as the gate holds them out
MIN_OUTCOMES = 50  # fewer among the later rows say too little: then the choice is by patient alone


class ChosenByCrossValidation(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The model of `candidates` whose calibrated risk had the lowest log loss on patients who were left out.

    Of equal ones the first. `losses_` keeps what each came to, `is_by_time_` whether later rows were judged.
    """

    def __init__(self, candidates: Mapping[str, Calibrated], *, seed: int = 0, fold_count: int = 5) -> None:
        self.candidates = candidates
        self.seed = seed
        self.fold_count = fold_count

    def fit(
        self,
        X: Floats,
        y: npt.ArrayLike,
        groups: npt.ArrayLike | None = None,
        *,
        feature_names: Sequence[str] = (),
        times: Floats | None = None,
    ) -> Self:
        """Judge the candidates and fit the best one on all rows. Arguments as of Calibrated.fit."""
        rows, labels = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.int64)
        persons = person_numbers(np.arange(len(labels)) if groups is None else groups)
        folds = person_folds(persons, labels, self.fold_count, self.seed)
        is_judged, is_earlier, self.is_by_time_ = _split(labels, times)
        self.losses_ = {}
        for name, candidate in self.candidates.items():
            with repeatable(len(rows)):
                signs = candidate.signs_of(feature_names, rows.shape[1])
                margins, known = [np.empty(0)], [np.empty(0, np.int64)]
                for fold in range(self.fold_count):
                    asked, learnt = is_judged & (folds == fold), is_earlier & (folds != fold)
                    if asked.any() and len(np.unique(labels[learnt])) == 2:
                        ranker = candidate.rank(rows[learnt], labels[learnt], signs)
                        margins.append(ranker.decision_function(rows[asked]))
                        known.append(labels[asked])
                self.losses_[name] = _log_loss(np.concatenate(margins), np.concatenate(known))
        self.chosen_name_ = min(self.losses_, key=lambda name: self.losses_[name])
        self.chosen_ = self.candidates[self.chosen_name_]
        self.chosen_.fit(rows, labels, groups, feature_names=feature_names)
        self.classes_, self.n_features_in_ = np.array([0, 1]), rows.shape[1]
        return self

    def margin(self, X: Floats) -> Floats:
        """Return the log odds of the chosen model before calibration."""
        return self.chosen_.margin(X)

    def predict_proba(self, X: Floats) -> Floats:
        """Return the risk of each row in the second column, by the chosen model."""
        return self.chosen_.predict_proba(X)

    def predict(self, X: Floats) -> Counts:
        """Return 1 where the risk is one half or more."""
        return self.chosen_.predict(X)


def _split(labels: Counts, times: Floats | None) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], bool]:
    """Which rows are judged, which may be learnt from for that, and whether time parts them."""
    every = np.ones(len(labels), dtype=bool)
    if times is None or not len(times):
        return every, every, False
    is_later = times >= times.max() - (times.max() - times.min()) * HELD_OUT_SHARE
    if labels[is_later].sum() < MIN_OUTCOMES or labels[~is_later].sum() < MIN_OUTCOMES:
        return every, every, False
    return is_later, ~is_later, True


def _log_loss(margins: Floats, labels: Counts) -> float:
    """The mean log loss of the risk that the best line makes of these margins; with nothing judged, that of chance."""
    if not len(labels):
        return float(np.log(2.0))
    intercept, slope = calibration_line(margins, labels)
    linear = intercept + slope * margins
    risk = np.clip(to_risk(linear), 1e-12, 1 - 1e-12)
    return float(-(labels * np.log(risk) + (1 - labels) * np.log1p(-risk)).mean())
