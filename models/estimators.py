"""Gradient boosting whose risk is calibrated on patients it has not seen: the model that use cases start from."""

from collections.abc import Mapping

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from models.calibrated import Calibrated
from models.calibration import Counts, Floats


class CalibratedGradientBoosting(Calibrated):
    """Boosted trees and a calibration line.

    `feature_share` of the features, drawn anew for each split, are looked at. `directions`: feature -> 1 where a higher
    value may only raise the risk, -1 where it may only lower it; a missing value is free of it.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        learning_rate: float = 0.05,
        tree_count: int = 150,
        leaf_count: int = 8,
        min_leaf_rows: int = 20,
        feature_share: float = 1.0,
        directions: Mapping[str, int] | None = None,
        fold_count: int = 10,
        calibration_person_count: int = 500,
    ) -> None:
        self.seed = seed
        self.learning_rate = learning_rate
        self.tree_count = tree_count
        self.leaf_count = leaf_count
        self.min_leaf_rows = min_leaf_rows
        self.feature_share = feature_share
        self.directions = directions
        self.fold_count = fold_count
        self.calibration_person_count = calibration_person_count

    def rank(self, rows: Floats, labels: Counts, signs: Counts) -> HistGradientBoostingClassifier:
        """Return the trees, fitted."""
        trees = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.tree_count,
            max_leaf_nodes=self.leaf_count,
            min_samples_leaf=self.min_leaf_rows,
            max_features=self.feature_share,
            monotonic_cst=signs if signs.any() else None,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        )
        return trees.fit(_without_empty_columns(rows, self.min_leaf_rows), labels)


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
