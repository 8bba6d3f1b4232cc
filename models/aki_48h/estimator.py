"""The model of aki_48h: one patient gives twenty rows that say much the same, so what counts is patients.

There are few of them for so many rows: few and small trees, leaves of ten patients, and a calibration line from 200
patients with the outcome, where more would cost a fit each and hardly move it.
"""

from typing import Any


def build_estimator(seed: int) -> Any:
    """Return the unfitted model; it takes the features in the order in which the use case names them."""
    from models.estimators import CalibratedGradientBoosting

    return CalibratedGradientBoosting(
        seed=seed, learning_rate=0.12, tree_count=40, leaf_count=6, min_leaf_rows=200, calibration_person_count=200
    )
