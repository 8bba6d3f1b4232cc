"""The model of aki_48h: four rows per day of a stay, so leaves must hold more rows than one stay gives."""

from typing import Any


def build_estimator(seed: int) -> Any:
    """Return the unfitted model; it takes the features in the order in which the use case names them."""
    from models.estimators import CalibratedGradientBoosting

    return CalibratedGradientBoosting(seed=seed, learning_rate=0.08, tree_count=100, leaf_count=8, min_leaf_rows=60)
