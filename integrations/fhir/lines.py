"""NDJSON files as a stream of lines for DuckDB, each with its file and its number.

Bounded memory whatever the size of a file. A line that is no UTF-8, or longer than LONGEST_LINE, arrives as null: it is
accounted for and never stops the rest.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 4 << 20  # bytes: about 5,000 lines, so that DuckDB works on full vectors of 2,048
LONGEST_LINE = 32 << 20
BOM = b"\xef\xbb\xbf"
LINE_END = ord("\n")
NO_TEXT = np.array([0xFF], dtype=np.uint8)
SCHEMA = pa.schema([("record_file", pa.string()), ("record_line", pa.int64()), ("raw", pa.string())])


@dataclass(frozen=True)
class LineStream:
    """The lines of files, read anew by each scan. Blank lines are counted in `record_line` and left out."""

    files: Sequence[tuple[str, Path]]  # (name in record_file, where it lies)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(SCHEMA, self.batches()).__arrow_c_stream__(requested_schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the lines of all files in order."""
        for name, path in self.files:
            line = 1
            with FileIO(path) as file:
                for block in _blocks(file):
                    yield _batch(name, line, block)
                    line += len(block.starts) - 1


def named(files: Sequence[Path], root: Path | None) -> list[tuple[str, Path]]:
    """Return each file with its name in `record_file`: the path below root, or the bare name."""
    return [(path.relative_to(root).as_posix() if root else path.name, path) for path in files]


def line_bytes(path: Path, numbers: Collection[int]) -> dict[int, bytes]:
    """Return the bytes of these lines, from 1, without their line end."""
    wanted, found, line = set(numbers), {}, 1
    with path.open("rb") as file:
        for bytes_of_line in file:
            if line in wanted:
                found[line] = bytes_of_line.rstrip(b"\r\n")
                if len(found) == len(wanted):
                    break
            line += 1
    return found


@dataclass(frozen=True)
class _Block:
    """Whole lines in memory, where each starts, and last where they end."""

    content: "NDArray[np.uint8]"
    starts: "NDArray[np.int32]"


def _blocks(file: FileIO) -> Iterator[_Block]:
    """Yield blocks that end where a line ends. Of a line too long only its end is kept, after a byte of no text."""
    rest = np.empty(0, dtype=np.uint8)
    is_start = True
    while True:
        content = _room(len(rest) + CHUNK)
        content[: len(rest)] = rest
        read = file.readinto(content.data[len(rest) :])
        content = content[: len(rest) + read]
        if is_start and content[:3].tobytes() == BOM:
            content = content[3:]
        is_start = False
        if not read:
            break
        ends = np.flatnonzero(content == LINE_END)
        if len(ends):
            yield _Block(content, _starts(ends))
        rest = content[ends[-1] + 1 :] if len(ends) else content
        if len(rest) > LONGEST_LINE:
            rest = NO_TEXT
    if len(content):
        yield _Block(content, np.array([0, len(content)], dtype=np.int32))


def _room(size: int) -> "NDArray[np.uint8]":
    """Return room for so many bytes out of Arrow's pool, which hands out what it got back: no new pages to clear."""
    return np.frombuffer(pa.allocate_buffer(size), dtype=np.uint8)


def _starts(ends: "NDArray[np.intp]") -> "NDArray[np.int32]":
    starts = np.zeros(len(ends) + 1, dtype=np.int32)
    starts[1:] = ends + 1
    return starts


def _batch(name: str, first: int, block: _Block) -> pa.RecordBatch:
    count = len(block.starts) - 1
    lines = np.arange(first, first + count, dtype=np.int64)
    raw = _text(block)
    if (is_record := ~_is_blank(block)).all():
        return _record_batch(name, lines, raw)
    return _record_batch(name, lines[is_record], raw.filter(pa.array(is_record)))


def _record_batch(name: str, lines: "NDArray[np.int64]", raw: pa.StringArray) -> pa.RecordBatch:
    return pa.record_batch([pa.repeat(pa.scalar(name), len(lines)), pa.array(lines), raw], schema=SCHEMA)


def _text(block: _Block) -> pa.StringArray:
    """Return the lines as text, without copying them when all of them are UTF-8."""
    raw = pa.StringArray.from_buffers(len(block.starts) - 1, pa.py_buffer(block.starts), pa.py_buffer(block.content))
    try:
        raw.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([_decoded(block.content[start:end]) for start, end in pairwise(block.starts)], pa.string())
    return raw


def _decoded(line: "NDArray[np.uint8]") -> str | None:
    try:
        return line.tobytes().decode()
    except UnicodeDecodeError:
        return None


def _is_blank(block: _Block) -> "NDArray[np.bool_]":
    """Tell which lines hold nothing but white space. Only lines that start with it are looked at."""
    is_blank = block.content[block.starts[:-1]] <= ord(" ")
    for number in np.flatnonzero(is_blank):
        is_blank[number] = not block.content[block.starts[number] : block.starts[number + 1]].tobytes().strip()
    return is_blank
