"""NDJSON files as a stream of lines for DuckDB, each with its file and its number.

Bounded memory whatever the size of a file. A line that is no UTF-8, or longer than LONGEST_LINE, arrives as null: it is
accounted for and never stops the rest.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 2 << 20  # about 2,048 lines, what DuckDB works on at a time
LONGEST_LINE = 32 << 20
BOM = b"\xef\xbb\xbf"
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
            with path.open("rb", buffering=0) as file:
                for chunk in _whole_lines(file):
                    starts = _line_starts(chunk)
                    yield _batch(name, line, chunk, starts)
                    line += len(starts) - 1


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


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield chunks that end where a line ends. A line too long is cut down to one that is no JSON."""
    rest = b""
    is_start, is_too_long = True, False
    while chunk := file.read(CHUNK):
        if is_start:
            chunk, is_start = chunk.removeprefix(BOM), False
        if is_too_long:
            cut = chunk.find(b"\n")
            if cut < 0:
                continue
            chunk, is_too_long = chunk[cut:], False
        buffer = rest + chunk if rest else chunk
        end = buffer.rfind(b"\n") + 1
        rest = buffer[end:]
        if len(rest) > LONGEST_LINE:
            rest, is_too_long = b"\xff", True
        if end:
            yield buffer[:end] if rest else buffer
    if rest:
        yield rest


def _line_starts(chunk: bytes) -> "NDArray[np.int32]":
    """Return where each line starts, and last where the chunk ends."""
    ends = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == ord("\n"))
    is_ended = chunk.endswith(b"\n")
    starts = np.zeros(len(ends) + (1 if is_ended else 2), dtype=np.int32)
    starts[1 : len(ends) + 1] = ends + 1
    starts[-1] = len(chunk)
    return starts


def _batch(name: str, first: int, chunk: bytes, starts: "NDArray[np.int32]") -> pa.RecordBatch:
    count = len(starts) - 1
    lines = np.arange(first, first + count, dtype=np.int64)
    raw = _text(chunk, starts)
    if (is_record := ~_is_blank(chunk, starts)).all():
        return _record_batch(name, lines, raw)
    return _record_batch(name, lines[is_record], raw.filter(pa.array(is_record)))


def _record_batch(name: str, lines: "NDArray[np.int64]", raw: pa.StringArray) -> pa.RecordBatch:
    return pa.record_batch([pa.repeat(pa.scalar(name), len(lines)), pa.array(lines), raw], schema=SCHEMA)


def _text(chunk: bytes, starts: "NDArray[np.int32]") -> pa.StringArray:
    """Return the lines as text, without copying them when all of the chunk is UTF-8."""
    raw = pa.StringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), pa.py_buffer(chunk))
    if chunk.isascii():
        return raw
    try:
        raw.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([_decoded(chunk[start:end]) for start, end in pairwise(starts)], pa.string())
    return raw


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def _is_blank(chunk: bytes, starts: "NDArray[np.int32]") -> "NDArray[np.bool_]":
    """Tell which lines hold nothing but white space. Only lines that start with it are looked at."""
    firsts = np.frombuffer(chunk, dtype=np.uint8)[starts[:-1]]
    is_blank = firsts <= ord(" ")
    for number in np.flatnonzero(is_blank):
        is_blank[number] = not chunk[starts[number] : starts[number + 1]].strip()
    return is_blank
