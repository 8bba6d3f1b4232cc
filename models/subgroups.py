"""Cut held-out rows into groups by a feature, so that a model that fails some patients is seen to."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Mask = npt.NDArray[np.bool_]
FEW_VALUES = 5


def subgroups_of(rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, Mask]]:
    """Yield (name, members) by each feature: its values when there are up to five, else thirds; and where it is null.

    Two sites or more are subgroups as well.
    """
    sites = rows.column("site_id").to_numpy()
    if len(set(sites)) > 1:
        yield from ((f"site_id {site}", sites == site) for site in sorted(set(sites)))
    for name in names:
        yield from _by_feature(name.split(":")[-1], rows)


def _by_feature(name: str, rows: pa.Table) -> Iterator[tuple[str, Mask]]:
    values = rows.column(name).to_numpy().astype(np.float64)
    is_known = ~np.isnan(values)
    distinct = np.unique(values[is_known])
    if len(distinct) <= FEW_VALUES:
        yield from ((f"{name} {value:g}", values == value) for value in distinct)
    else:
        yield from _by_thirds(name, values, np.quantile(values[is_known], [1 / 3, 2 / 3], method="lower"))
    if not is_known.all():
        yield f"{name} not known", ~is_known


def _by_thirds(name: str, values: npt.NDArray[np.float64], cuts: npt.NDArray[np.float64]) -> Iterator[tuple[str, Mask]]:
    low, high = cuts
    yield f"{name} up to {low:g}", values <= low
    yield f"{name} above {low:g} up to {high:g}", (values > low) & (values <= high)
    yield f"{name} above {high:g}", values > high
