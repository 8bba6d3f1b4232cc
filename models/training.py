"""Fit the candidate: one model on all rows whose outcome is known and whose data are in order."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from integrations.errors import Refused
from models.calibration import Counts
from models.folds import person_numbers
from models.matrix import as_matrix
from models.rows import instants, row_keys
from models.use_case import UseCase


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A fitted model and what it was fitted on. It waits for the gate and for people."""

    use_case: str
    estimator: Any = field(repr=False)
    feature_names: tuple[str, ...]
    seed: int
    row_count: int
    person_count: int
    outcome_count: int
    held_row_count: int  # dropped: a feature or the outcome was held
    first_prediction_time: datetime
    last_prediction_time: datetime


def train(
    use_case: UseCase, frame: pa.Table, *, seed: int, held_row_count: int = 0, time_is_usable: bool = True
) -> Candidate:
    """Fit on every row of a training frame, from which held rows have been dropped.

    Raises Refused when there is none.
    """
    labels = labels_of(frame)
    outcomes = int(labels.sum())
    if len(labels) == 0:
        raise Refused(
            f"{use_case.name}: no row has a known outcome, so there is nothing to learn from",
            to_do="load more history, or wait until windows have closed",
        )
    span = pc.min_max(frame.column("prediction_time")).as_py()
    return Candidate(
        use_case=use_case.name,
        estimator=fit(use_case, frame, seed=seed, time_is_usable=time_is_usable),
        feature_names=use_case.feature_names,
        seed=seed,
        row_count=len(labels),
        person_count=int(persons_of(frame).max()) + 1,
        outcome_count=outcomes,
        held_row_count=held_row_count,
        first_prediction_time=span["min"],
        last_prediction_time=span["max"],
    )


def without_held(frame: pa.Table, held: pa.Table) -> tuple[pa.Table, int]:
    """Drop the rows of which any feature, or the outcome, is held, and count them.

    `held` names them by encounter_id and prediction_time; the order of the other rows stays.
    """
    marked = set(row_keys(held))
    keep = [key not in marked for key in row_keys(frame)]
    return frame.filter(pa.array(keep, pa.bool_())), keep.count(False)


def fit(use_case: UseCase, frame: pa.Table, *, seed: int, time_is_usable: bool = True) -> Any:
    """Return the use case's model, fitted; rows of one person count as belonging together.

    Where the dates of a source are moved, time is not usable: then the choice between models is by patient alone.
    """
    matrix = as_matrix(frame, use_case.feature_names)
    times = instants(frame, "prediction_time").astype(np.float64) if time_is_usable else None
    return use_case.estimator(seed).fit(
        matrix, labels_of(frame), groups=persons_of(frame), feature_names=use_case.feature_names, times=times
    )


def labels_of(frame: pa.Table) -> Counts:
    """Return the outcomes of a training frame: 0 or 1, never null."""
    labels: Counts = frame.column("label").to_numpy().astype(np.int64)
    return labels


def persons_of(frame: pa.Table) -> Counts:
    """Return the person of each row of a training frame, as a number from 0."""
    return person_numbers(frame.column("person_id").to_numpy())
