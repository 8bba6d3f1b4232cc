"""What a version was trained on, kept small and without patients: bins, spreads, what chance alone does."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.calibration import Counts, Floats
from models.folds import person_numbers
from models.matrix import as_matrix
from models.monitoring.bins import codes_of, edges_of, psi, shares_of

SIZES = (50, 100, 200, 400, 800, 1600, 3200, 6400)  # rows of a window; between two of them, read off a line in logs
QUANTILES = (np.arange(100) + 0.5) / 100
PREDICTION = "prediction"


def build_reference(
    frame: pa.Table,
    features: Sequence[str],
    *,
    predictions: pa.Table | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Freeze the spread of each feature, and of the predictions, as JSON.

    `frame` has person_id (else patient_id) and the features; `predictions` has the same key and probability, by default
    the frame's own column where it has one. `psi_99` and `missing_99` are, per size, the 99th percentile of the PSI and
    of the change of the missing share over windows of that size, drawn from the reference by whole patients.
    """
    persons = persons_of(frame)
    parts = _parts(as_matrix(frame, features), features, persons, resamples, seed)
    if predictions is None and "probability" in frame.column_names:
        predictions = frame
    reference = {"rows": frame.num_rows, "persons": len(np.unique(persons)), "sizes": list(SIZES)}
    return reference | {"features": parts, "prediction": _prediction(predictions, resamples, seed)}


def persons_of(frame: pa.Table) -> Counts:
    """Number the persons of a frame's rows; where links are not resolved, a patient is a person."""
    key = "person_id" if "person_id" in frame.column_names else "patient_id"
    return person_numbers(frame.column(key).to_numpy())


def _prediction(predictions: pa.Table | None, resamples: int, seed: int) -> dict[str, Any] | None:
    if predictions is None:
        return None
    scored = predictions.filter(pc.is_valid(predictions.column("probability")))
    if not scored.num_rows:
        return None
    matrix = as_matrix(scored, ["probability"])
    return _parts(matrix, [PREDICTION], persons_of(scored), resamples, seed)[PREDICTION]


def _parts(
    matrix: Floats, names: Sequence[str], persons: Counts, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Freeze each column of a matrix."""
    edges = [edges_of(column) for column in matrix.T]
    codes = np.column_stack([codes_of(column, its) for column, its in zip(matrix.T, edges, strict=True)])
    shares = [shares_of(column, its) for column, its in zip(codes.T, edges, strict=True)]
    psi_99, missing_99 = _chance(codes, edges, shares, persons, resamples, seed)
    return {
        name: {
            "edges": edges[at],
            "shares": [float(share) for share in shares[at]],
            "missing_share": float(shares[at][-1]),
            "quantiles": _quantiles(matrix[:, at]),
            "psi_99": psi_99[:, at].tolist(),
            "missing_99": missing_99[:, at].tolist(),
        }
        for at, name in enumerate(names)
    }


def _quantiles(values: Floats) -> list[float]:
    """Return the middles of the hundredths of what was measured; for pictures, not for verdicts."""
    measured = values[~np.isnan(values)]
    return np.quantile(measured, QUANTILES, method="inverted_cdf").tolist() if len(measured) else []


def _chance(
    codes: Counts, edges: list[list[float]], shares: list[Floats], persons: Counts, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Return size x column: what 99 of 100 windows drawn from the reference itself stay under."""
    width = max(map(len, edges)) + 2
    # all bins of all columns side by side, "not measured" last in each, so that one count serves them all
    last = np.array([len(its) + 1 for its in edges])
    aligned = np.where(codes == last, width - 1, codes) + np.arange(len(edges)) * width
    expected = np.zeros((len(edges), width))
    for at, its in enumerate(shares):
        expected[at, : len(its) - 1], expected[at, -1] = its[:-1], its[-1]
    psi_99, missing_99 = np.empty((len(SIZES), len(edges))), np.empty((len(SIZES), len(edges)))
    for row, size in enumerate(SIZES):
        windows = np.array(
            [
                np.bincount(aligned[chosen].ravel(), minlength=expected.size).reshape(expected.shape) / size
                for chosen in _windows(persons, size, resamples, seed)
            ]
        )
        psi_99[row] = np.percentile(psi(windows, expected), 99, axis=0)
        missing_99[row] = np.percentile(np.abs(windows[:, :, -1] - expected[:, -1]), 99, axis=0)
    return psi_99, missing_99


def _windows(persons: Counts, size: int, resamples: int, seed: int) -> Iterator[Counts]:
    """Yield the row numbers of windows of `size` rows, filled patient by patient, drawn with replacement."""
    random = np.random.default_rng([seed, size])
    by_person = np.argsort(persons, kind="stable")
    lengths = np.bincount(persons)
    starts = np.cumsum(lengths) - lengths
    enough = int(np.ceil(size / lengths.min()))
    for _ in range(resamples):
        drawn = random.integers(0, len(lengths), enough)
        drawn = drawn[: int(np.searchsorted(np.cumsum(lengths[drawn]), size)) + 1]
        begins = np.repeat(starts[drawn] - (np.cumsum(lengths[drawn]) - lengths[drawn]), lengths[drawn])
        yield by_person[(begins + np.arange(len(begins)))[:size]]


def by_chance(part: Mapping[str, Any], what: str, sizes: Sequence[int], rows: int) -> float:
    """Read the 99th percentile `what` of a window of `rows` rows off the frozen ones, along a line in logs."""
    figures = np.log(np.maximum(part[what], 1e-12))
    return float(np.exp(np.interp(np.log(max(rows, 1)), np.log(sizes), figures)))
