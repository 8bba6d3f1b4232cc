"""From a frame of named columns to the doubles that a model takes, by name and never by position."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from integrations.errors import NotInOrder, Refused
from models.calibration import Floats


def as_matrix(frame: pa.Table, names: Sequence[str]) -> Floats:
    """Return the named columns as doubles, null as NaN, rows in the frame's order.

    Raises NotInOrder when a column is missing or is no number, Refused when a value is infinite.
    """
    missing = [name for name in names if name not in frame.column_names]
    if missing:
        raise NotInOrder(
            f"{len(missing)} of {len(names)} features are not in the frame: {', '.join(missing)}",
            to_do="build the features of this use case again",
        )
    matrix = np.empty((frame.num_rows, len(names)), order="F")  # column by column, as it comes
    for position, name in enumerate(names):
        matrix[:, position] = _doubles(frame.column(name), name)
    _refuse_infinite(matrix, names)
    return matrix


def _doubles(column: pa.ChunkedArray, name: str) -> Floats:
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise NotInOrder(f"feature {name} is {kind}, not a number", to_do="let its view return a DOUBLE")
    values: Floats = column.cast(pa.float64()).to_numpy()
    return values


def _refuse_infinite(matrix: Floats, names: Sequence[str]) -> None:
    infinite = np.isinf(matrix)
    if infinite.any():
        counts = {name: int(count) for name, count in zip(names, infinite.sum(axis=0), strict=True) if count}
        raise Refused(
            "infinite values in " + ", ".join(f"{name} ({count} rows)" for name, count in counts.items()),
            to_do="find the division by zero in the feature view",
        )
