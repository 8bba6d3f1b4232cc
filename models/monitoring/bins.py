"""Frozen bins and the population stability index (PSI) between two spreads over them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.calibration import Counts, Floats

DECILES = np.arange(1, 10) / 10
# An empty bin counts as this share, so that one value in a new bin does not weigh without bound.
EMPTY_SHARE = 1e-4


def edges_of(values: Floats) -> list[float]:
    """Return the upper edges of the bins: deciles of what was measured, each once; none when nothing was.

    When a tenth or more sit on the smallest value, a bin below it is kept open for what is smaller still.
    """
    measured = values[~np.isnan(values)]
    if not len(measured):
        return []
    edges = np.unique(np.quantile(measured, DECILES, method="inverted_cdf"))
    lowest = measured.min()
    below = [np.nextafter(lowest, -np.inf)] if edges[0] == lowest else []
    return [float(edge) for edge in (*below, *edges)]


def codes_of(values: Floats, edges: Sequence[float]) -> Counts:
    """Return the bin of each value, from 0; the last bin, len(edges) + 1, is "not measured"."""
    codes: Counts = np.searchsorted(np.asarray(edges), values, side="left")
    codes[np.isnan(values)] = len(edges) + 1
    return codes


def shares_of(codes: Counts, edges: Sequence[float]) -> Floats:
    """Return the share of rows in each bin, "not measured" last."""
    return np.bincount(codes, minlength=len(edges) + 2) / max(len(codes), 1)


def psi(shares: npt.ArrayLike, reference: npt.ArrayLike) -> Floats:
    """Return the PSI of spreads (bins along the last axis) against the reference spread; 0 when they are equal."""
    now, then = np.maximum(shares, EMPTY_SHARE), np.maximum(reference, EMPTY_SHARE)
    index: Floats = ((now - then) * np.log(now / then)).sum(axis=-1)
    return index
