"""Why a score is what it is: the three features that moved it most."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from models.artifacts import RegisteredModel
from models.calibration import Floats
from models.choice import ChosenByCrossValidation
from models.linear import KinkedLines
from models.matrix import as_matrix
from models.mean import MeanMargin

SHOWN = 3


def explain(model: RegisteredModel, frame: pa.Table, rows: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Return, for each row asked, the features that moved it most: feature, value (none: not measured), contribution.

    Contributions are Shapley values of the trees (Lundberg 2020), or of the lines, on the log odds before calibration;
    all of them and the mean log odds add up to the margin. Calibration is a straight line, so signs and order are those
    of the risk.
    """
    if not rows:
        return {}
    matrix = as_matrix(frame.take(pa.array(rows)), model.feature_names)
    contributions = contributions_of(model.estimator, matrix)
    most = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :SHOWN]
    return {
        row: [
            {
                "feature": model.feature_names[column],
                "value": None if np.isnan(matrix[position, column]) else float(matrix[position, column]),
                "contribution": float(contributions[position, column]),
            }
            for column in most[position].tolist()
        ]
        for position, row in enumerate(rows)
    }


def contributions_of(estimator: Any, matrix: Floats) -> Floats:
    """Return what each feature adds to the margin of each row."""
    if isinstance(estimator, ChosenByCrossValidation):
        return contributions_of(estimator.chosen_, matrix)
    return np.zeros(matrix.shape) if estimator.model_ is None else _of_ranker(estimator.model_, matrix)


def _of_ranker(ranker: Any, matrix: Floats) -> Floats:
    if isinstance(ranker, MeanMargin):
        mean: Floats = np.mean([_of_ranker(each, matrix) for each in ranker.rankers], axis=0)
        return mean
    if isinstance(ranker, KinkedLines):
        return ranker.contributions(matrix)
    explainer = _shap().TreeExplainer(ranker, feature_perturbation="tree_path_dependent")
    values: Floats = explainer.shap_values(matrix, check_additivity=False)
    return values


def _shap() -> Any:
    """Import shap, and let go of whoever asked for it.

    It keeps the error of each library that it misses, and with its traceback all callers and what they had open: the
    tables of a whole snapshot, until the process ends.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its plots, which nobody asked for
        import shap
        from shap.utils._general import import_errors

    for _, missed in import_errors.values():
        error: BaseException | None = missed
        while error is not None:
            error.__traceback__, error = None, error.__context__
    return shap
