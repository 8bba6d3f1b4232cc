"""NDJSON files as a stream of lines for DuckDB, each with its file and its number.

Bounded memory whatever the size of a file or a line. A line that is no UTF-8, or beyond the limits of the contract,
arrives as null: it is accounted for and never stops the rest.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa

from integrations.fhir.heavy import lightened, parts
from integrations.limits import DEFAULT_LIMITS, Limits
from integrations.sent import BOM, KEPT, SentRecord, sent_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1 << 20  # bytes: some thousand lines, which DuckDB parses at once; see heavy.py for why not more
LINE_END = ord("\n")
NO_TEXT, BLANK = np.array([0xFF], dtype=np.uint8), np.array([ord(" ")], dtype=np.uint8)
SCHEMA = pa.schema(
    [
        ("record_file", pa.string()),
        ("record_line", pa.int64()),
        ("raw", pa.string()),
        ("is_beyond_limits", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class LineStream:
    """The lines of files, read anew by each scan. Blank lines are counted in `record_line` and left out.

    elements: what is read of a resource, so that a line of many megabytes need not be handed on as a whole.
    """

    files: Sequence[tuple[str, Path]]  # (name in record_file, where it lies)
    elements: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(SCHEMA, self.batches()).__arrow_c_stream__(requested_schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the lines of all files in order."""
        for name, path in self.files:
            line = 1
            with FileIO(path) as file:
                for block in blocks(file, self.limits.longest_line):
                    yield from self._batches(name, line, block)
                    line += len(block.starts) - 1

    def _batches(self, name: str, first: int, block: "Block") -> Iterator[pa.RecordBatch]:
        if block is TOO_LONG:
            yield _record_batch(name, np.array([first]), pa.nulls(1, pa.string()), is_beyond_limits=True)
            return
        for part in parts(block.content, block.starts, self.limits):
            inner = Block(block.content, block.starts[part.start : part.end + 1])
            if part.is_heavy:
                yield from self._heavy(name, first + part.start, inner)
            else:
                yield _batch(name, first + part.start, inner)

    def _heavy(self, name: str, number: int, block: "Block") -> Iterator[pa.RecordBatch]:
        line = block.content[block.starts[0] : block.starts[1]]
        if not _is_blank(block).any():
            text = lightened(line.tobytes(), self.elements, self.limits)
            raw = pa.array([None if text is None else _decoded(text)], pa.string())
            yield _record_batch(name, np.array([number]), raw, is_beyond_limits=text is None)


def named(files: Sequence[Path], root: Path | None) -> list[tuple[str, Path]]:
    """Return each file with its name in `record_file`: the path below root, or the bare name."""
    return [(path.relative_to(root).as_posix() if root else path.name, path) for path in files]


def sent_lines(path: Path, numbers: Collection[int]) -> Iterator[SentRecord]:
    """Yield these lines, from 1, in their order and without their line end; of a long one its begin."""
    wanted, line = set(numbers), 0
    with path.open("rb") as file:
        while wanted and (piece := file.readline(KEPT)):
            line += 1
            is_whole = piece.endswith(b"\n") or len(piece) < KEPT
            if line in wanted:
                wanted.remove(line)
                yield sent_record(line, piece.rstrip(b"\r\n")) if is_whole else _long_line(line, piece, file)
            elif not is_whole:
                _long_line(line, piece, file)


def _long_line(number: int, head: bytes, file: BinaryIO) -> SentRecord:
    """Read on to the end of a line."""
    digest, piece = hashlib.sha256(head), head
    while not piece.endswith(b"\n") and (piece := file.readline(KEPT)):
        digest.update(piece.removesuffix(b"\n"))
    return SentRecord(number, digest.hexdigest(), head)


@dataclass(frozen=True)
class Block:
    """Whole lines in memory, where each starts, and last where they end."""

    content: "NDArray[np.uint8]"
    starts: "NDArray[np.int32]"


TOO_LONG = Block(np.array([0xFF], dtype=np.uint8), np.array([0, 1], dtype=np.int32))


def blocks(file: FileIO, longest: int) -> Iterator[Block]:
    """Yield blocks that end where a line ends. A line that is too long is one of its own, without its content."""
    room, size = _room(CHUNK), 0  # size: how much of the room holds the line that has begun
    is_start, is_too_long = True, False
    while read := file.readinto(room.data[size : size + CHUNK]):
        content = room[: size + read]
        if is_start and content[:3].tobytes() == BOM:
            content = content[3:]
        is_start = False
        ends = np.flatnonzero(content == LINE_END)
        if is_too_long and len(ends):
            yield TOO_LONG
            is_too_long = False
            content, ends = content[ends[0] + 1 :], ends[1:] - ends[0] - 1
        if len(ends):
            yield Block(content, _starts(ends))
        rest = content[ends[-1] + 1 :] if len(ends) else content
        if is_too_long or len(rest) > longest:
            is_too_long = is_too_long or not _is_space(rest).all()
            rest = rest[:0] if is_too_long else BLANK
        size = len(rest)
        if len(ends) or size + CHUNK > len(room):
            # DuckDB may still read the last room. A line longer than a chunk gets all the room that it may need.
            room = _room(longest + 2 * CHUNK if size >= CHUNK else size + CHUNK)
        room[:size] = rest
    if is_too_long:
        yield TOO_LONG
    elif size:
        yield Block(room[:size], np.array([0, size], dtype=np.int32))


def _room(size: int) -> "NDArray[np.uint8]":
    """Return room for so many bytes out of Arrow's pool, which hands out what it got back: no new pages to clear."""
    return np.frombuffer(pa.allocate_buffer(size), dtype=np.uint8)


def _starts(ends: "NDArray[np.intp]") -> "NDArray[np.int32]":
    starts = np.zeros(len(ends) + 1, dtype=np.int32)
    starts[1:] = ends + 1
    return starts


def _batch(name: str, first: int, block: Block) -> pa.RecordBatch:
    count = len(block.starts) - 1
    lines = np.arange(first, first + count, dtype=np.int64)
    raw = _text(block)
    if (is_record := ~_is_blank(block)).all():
        return _record_batch(name, lines, raw)
    return _record_batch(name, lines[is_record], raw.filter(pa.array(is_record)))


def _record_batch(
    name: str, lines: "NDArray[np.int64]", raw: pa.StringArray, *, is_beyond_limits: bool = False
) -> pa.RecordBatch:
    same = [pa.repeat(pa.scalar(value), len(lines)) for value in (name, is_beyond_limits)]
    return pa.record_batch([same[0], pa.array(lines), raw, same[1]], schema=SCHEMA)


def _text(block: Block) -> pa.StringArray:
    """Return the lines as text, without copying them when all of them are UTF-8."""
    raw = pa.StringArray.from_buffers(len(block.starts) - 1, pa.py_buffer(block.starts), pa.py_buffer(block.content))
    try:
        raw.validate(full=True)
    except pa.ArrowInvalid:
        lines = (block.content[start:end].tobytes() for start, end in pairwise(block.starts))
        return pa.array([_decoded(line) for line in lines], pa.string())
    return raw


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def _is_blank(block: Block) -> "NDArray[np.bool_]":
    """Tell which lines hold nothing but white space; where none starts with it, nothing more is looked at."""
    starts = block.starts
    is_blank = block.content[starts[:-1]] <= ord(" ")
    if is_blank.any():
        text = np.flatnonzero(~_is_space(block.content[starts[0] : starts[-1]])) + starts[0]
        places = np.searchsorted(text, starts)
        is_blank = places[1:] == places[:-1]
    return is_blank


def _is_space(content: "NDArray[np.uint8]") -> "NDArray[np.bool_]":
    is_space: NDArray[np.bool_] = (content == ord(" ")) | ((content >= ord("\t")) & (content <= ord("\r")))
    return is_space
