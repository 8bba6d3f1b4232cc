"""The lines of a CSV file and the rows of a Parquet file: each one is a record, found again by its number.

A record of a CSV file is one line, since a line break within quotes could hide every record after a lost quote. Line 1
is the header; a blank line is no record. A line that does not hold one cell per column is kept, with what is wrong.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from integrations.contract_parts import TabularInput
from integrations.errors import Refused

CHUNK_LINES = 20_000
LONGEST_HEADER = 1 << 20  # bytes


@dataclass(frozen=True)
class Chunk:
    """Some records of a CSV file in order: line number and cells, or what is wrong with one that has no cells."""

    numbers: list[int]
    rows: list[list[str]]
    problems: list[str | None]


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, unpacked when its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def header(path: Path, declared: TabularInput, place: str) -> list[str]:
    """Return the column names of a CSV file. Raises Refused when there is none, or one stands twice."""
    cells, problem = _header(path, declared)
    if problem:
        raise Refused(problem, where=place, to_do="ask the sender for the file again, with one line of column names")
    return cells


def lack_of(path: Path, declared: TabularInput) -> str | None:
    """Say why the columns that are declared cannot be read from a CSV file; None where they can."""
    cells, problem = _header(path, declared)
    missing = [name for name in declared.columns if name not in cells]
    return problem or (f"no column {missing[0]}" if missing else None)


def _header(path: Path, declared: TabularInput) -> tuple[list[str], str | None]:
    """Return the column names of a CSV file, or what is wrong with them."""
    try:
        with open_bytes(path) as file:
            line = file.readline(LONGEST_HEADER)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return [], "the file is cut off or broken"
    if not line:
        return [], "the file is empty"
    cells, problem = _cells(line.removeprefix(b"\xef\xbb\xbf"), declared)
    if problem or not any(cells):
        return [], "the file has no header that can be read"
    if len(set(cells)) < len(cells):
        return [], "a column name stands twice in the header"
    return cells, None


def chunks(path: Path, declared: TabularInput, column_count: int) -> Iterator[Chunk]:
    """Read the records of a CSV file in pieces of bounded size."""
    with open_bytes(path) as file:
        file.readline()
        first = 2
        while taken := list(islice(file, CHUNK_LINES)):
            records = [(number, raw) for number, raw in enumerate(taken, first) if raw.strip()]
            first += len(taken)
            yield _chunk([number for number, _ in records], [raw for _, raw in records], declared, column_count)


def _chunk(numbers: list[int], raws: list[bytes], declared: TabularInput, column_count: int) -> Chunk:
    """Read lines together, which is fast; one by one when any of them is not as it should be."""
    if rows := _rows_in_order(raws, declared, column_count):
        return Chunk(numbers, rows, [None] * len(rows))
    read = [_cells(raw, declared, column_count) for raw in raws]
    return Chunk(numbers, [cells for cells, _ in read], [problem for _, problem in read])


def _rows_in_order(raws: list[bytes], declared: TabularInput, column_count: int) -> list[list[str]] | None:
    """Return the cells of all lines, or None when one of them is not in order."""
    try:
        texts = b"".join(raws).decode(declared.encoding).removesuffix("\n").split("\n")
        rows = list(csv.reader(texts, delimiter=declared.delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    is_in_order = len(rows) == len(raws) and all(len(cells) == column_count for cells in rows)
    return rows if is_in_order else None


def _cells(raw: bytes, declared: TabularInput, column_count: int | None = None) -> tuple[list[str], str | None]:
    """Return the cells of one line, or none and why it cannot be read."""
    try:
        text = raw.decode(declared.encoding).rstrip("\r\n")
        [cells] = csv.reader([text], delimiter=declared.delimiter, strict=True) if text else [[]]
    except UnicodeDecodeError:
        return [], f"not {declared.encoding}"
    except csv.Error:
        return [], "a quote is not closed, or text stands beside it"
    if column_count is not None and len(cells) != column_count:
        return [], f"{len(cells)} cells for {column_count} columns"
    return cells, None


def record_bytes(path: Path, numbers: Collection[int]) -> dict[int, bytes]:
    """Return the bytes of some records: the line of a CSV file, or a Parquet row written as JSON.

    A whole file that is a record stands by its first line; of an empty one there is none.
    """
    wanted = set(numbers)
    if path.suffix == ".parquet":
        return _parquet_rows(path, sorted(wanted))
    with open_bytes(path) as file:
        found = {number: raw.rstrip(b"\r\n") for number, raw in enumerate(file, 1) if number in wanted}
    return found if found or 1 not in wanted else {1: b""}


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
