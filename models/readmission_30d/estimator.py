"""The model of readmission_30d: a few thousand discharges, so small trees and many left-out margins."""

from typing import Any


def build_estimator(seed: int) -> Any:
    """Return the unfitted model; it takes the features in the order in which the use case names them."""
    from models.estimators import CalibratedGradientBoosting

    return CalibratedGradientBoosting(seed=seed, learning_rate=0.04, tree_count=150, leaf_count=6, min_leaf_rows=25)
