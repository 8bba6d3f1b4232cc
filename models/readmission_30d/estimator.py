"""The model of readmission_30d: a few thousand discharges, so few and small trees, and every patient left out once."""

from typing import Any


def build_estimator(seed: int) -> Any:
    """Return the unfitted model; it takes the features in the order in which the use case names them."""
    from models.estimators import CalibratedGradientBoosting

    return CalibratedGradientBoosting(seed=seed, learning_rate=0.08, tree_count=50, leaf_count=4, min_leaf_rows=25)
