"""The lines of a CSV file and the rows of a Parquet file: each one is a record, found again by its number.

A record of a CSV file is one line, since a line break within quotes could hide every record after a lost quote. Line 1
is the header; a blank line is no record. A line that does not hold one cell per column is kept, with what is wrong.
"""

import csv
import gzip
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from integrations.contract import TabularInput
from integrations.errors import Refused


@dataclass(frozen=True)
class Line:
    """One record of a CSV file; without cells when `problem` says why it cannot be read."""

    number: int
    cells: list[str]
    problem: str | None = None


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, unpacked when its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def header(path: Path, declared: TabularInput) -> list[str]:
    """Return the column names of a CSV file. Raises Refused when there is none, or one stands twice."""
    with open_bytes(path) as file:
        first = _line(1, file.readline().removeprefix(b"\xef\xbb\xbf"), declared, 0)
    if first.problem or not any(first.cells):
        raise Refused(
            "the file has no header that can be read", where=path.name, to_do="ask the sender for the file again"
        )
    if len(set(first.cells)) < len(first.cells):
        raise Refused(
            "a column name stands twice in the header", where=path.name, to_do="ask the sender to name it once"
        )
    return first.cells


def lines(path: Path, declared: TabularInput, column_count: int) -> Iterator[Line]:
    """Read the records of a CSV file one by one."""
    with open_bytes(path) as file:
        for number, raw in enumerate(file, 1):
            if number > 1 and raw.strip():
                yield _line(number, raw, declared, column_count)


def _line(number: int, raw: bytes, declared: TabularInput, column_count: int) -> Line:
    try:
        text = raw.decode(declared.encoding).rstrip("\r\n")
        cells = (
            next(csv.reader([text], delimiter=declared.delimiter, strict=True))
            if '"' in text
            else text.split(declared.delimiter)
        )
    except UnicodeDecodeError:
        return Line(number, [], f"not {declared.encoding}")
    except csv.Error:
        return Line(number, [], "a quote is not closed, or stands within a cell")
    if column_count and len(cells) != column_count:
        return Line(number, [], f"{len(cells)} cells for {column_count} columns")
    return Line(number, cells)


def record_bytes(path: Path, numbers: Collection[int]) -> dict[int, bytes]:
    """Return the bytes of some records: the line of a CSV file, or a Parquet row written as JSON."""
    wanted = set(numbers)
    if path.suffix == ".parquet":
        return _parquet_rows(path, sorted(wanted))
    with open_bytes(path) as file:
        return {number: raw.rstrip(b"\r\n") for number, raw in enumerate(file, 1) if number in wanted}


def _parquet_rows(path: Path, numbers: list[int]) -> dict[int, bytes]:
    import pyarrow.parquet

    found: dict[int, bytes] = {}
    passed = 0
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=50_000):
            here = [number for number in numbers if passed < number <= passed + batch.num_rows]
            rows = batch.take([number - passed - 1 for number in here]).to_pylist() if here else []
            found |= {number: json.dumps(row, default=str).encode() for number, row in zip(here, rows, strict=True)}
            passed += batch.num_rows
    return found
