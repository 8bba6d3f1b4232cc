"""The key of a cohort row, and its instants, in plain types that compare fast."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Instants = npt.NDArray[np.datetime64]
RowKey = tuple[str, int]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def row_keys(table: pa.Table) -> list[RowKey]:
    """Return (encounter_id, prediction_time in microseconds) of each row."""
    times = instants(table, "prediction_time").astype(np.int64).tolist()
    return list(zip(table.column("encounter_id").to_pylist(), times, strict=True))


def instants(table: pa.Table, name: str) -> Instants:
    """Return a column of instants as UTC in microseconds."""
    column: Any = table.column(name)
    values: Instants = column.to_numpy().astype("datetime64[us]")
    return values


def as_instant(moment: datetime) -> np.datetime64:
    """Return an aware datetime as it compares with `instants`."""
    return np.datetime64((moment - EPOCH) // timedelta(microseconds=1), "us")


def datetimes(table: pa.Table, name: str) -> list[datetime]:
    """Return a column of instants as aware datetimes; each distinct one is built once."""
    distinct, position = np.unique(instants(table, name).astype(np.int64), return_inverse=True)
    built = [EPOCH + timedelta(microseconds=micros) for micros in distinct.tolist()]
    return [built[index] for index in position.tolist()]
