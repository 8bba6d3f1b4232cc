"""Splits that never cut a person in two."""

from typing import Any

import numpy as np

from models.calibration import Counts


def person_numbers(persons: Any) -> Counts:
    """Return the person of each row as a number from 0."""
    numbers: Counts = np.unique(np.asarray(persons), return_inverse=True)[1].astype(np.int64)
    return numbers


def person_folds(persons: Counts, labels: Counts, fold_count: int, seed: int) -> Counts:
    """Deal persons into folds, those with an outcome first, so that each fold has its share; one number per row."""
    count = int(persons.max()) + 1 if len(persons) else 0
    has_outcome = np.bincount(persons, weights=labels, minlength=count) > 0
    order = np.random.default_rng(seed).permutation(count)
    order = order[np.argsort(~has_outcome[order], kind="stable")]
    fold_of_person = np.empty(count, np.int64)
    fold_of_person[order] = np.arange(count) % fold_count
    return fold_of_person[persons]
