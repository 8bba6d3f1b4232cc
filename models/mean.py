"""The mean of several models: what errs in one way is often put right by what errs in another."""

from collections.abc import Sequence

import numpy as np

from models.calibrated import Calibrated
from models.calibration import Counts, Floats


class CalibratedMean(Calibrated):
    """The mean margin of some models of ours, and one calibration line for it."""

    def __init__(
        self, parts: Sequence[Calibrated], *, seed: int = 0, fold_count: int = 10, calibration_person_count: int = 500
    ) -> None:
        self.parts = parts
        self.seed = seed
        self.fold_count = fold_count
        self.calibration_person_count = calibration_person_count

    def rank(self, rows: Floats, labels: Counts, signs: Counts) -> "MeanMargin":
        """Return the rankers of all parts, fitted."""
        return MeanMargin([part.rank(rows, labels, signs) for part in self.parts])

    def signs_of(self, feature_names: Sequence[str], count: int) -> Counts:
        """The parts have the same directions, which are those of the mean."""
        first, *others = [part.signs_of(feature_names, count) for part in self.parts]
        if any((other != first).any() for other in others):
            from integrations.errors import WrongUsage

            raise WrongUsage(
                "the parts of a mean have different directions", where="estimator.py", to_do="give all the same"
            )
        return first


class MeanMargin:
    """Several fitted rankers as one."""

    def __init__(self, rankers: Sequence[object]) -> None:
        self.rankers = rankers

    def decision_function(self, rows: Floats) -> Floats:
        """Return the mean of their margins."""
        margins = [ranker.decision_function(rows) for ranker in self.rankers]  # type: ignore[attr-defined]
        mean: Floats = np.mean(margins, axis=0)
        return mean
