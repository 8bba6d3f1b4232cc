"""Lines that would cost DuckDB more memory than it has: apart from others, with what the view reads, or not at all.

Whatever parses JSON takes, for all lines that it is given at once, up to 4 bytes for each byte and 50 for each value;
DuckDB keeps that per thread and for each place where a query reads the line.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import orjson

from integrations.limits import Limits
from integrations.sent import MOST_VALUES, json_depth, value_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALUES_AT_ONCE = 400_000  # of several lines; FHIR has a value in 17 to 30 bytes, so 4 MB of it stay in one part
HEAVY_BYTES, HEAVY_VALUES = 1 << 20, 100_000  # of one line; FHIR itself allows a string 1 MB

SLICE = 64 << 10
VALUE_SIGNS = (ord(","), ord("["), ord("{"))


@dataclass(frozen=True)
class Part:
    """Lines of a block, from `start` up to before `end`; one that must be looked at first stands alone."""

    start: int
    end: int
    is_heavy: bool


def parts(content: "NDArray[np.uint8]", starts: "NDArray[np.int32]", limits: Limits) -> Iterator[Part]:
    """Cut a block, whose lines begin at `starts` and end where the last one says, into what can be read at once."""
    start = 0
    for large in np.flatnonzero(np.diff(starts) > min(HEAVY_BYTES, limits.longest_line)).tolist():
        yield from _parts_of_small(content, starts, start, large, limits.deepest_json)
        yield Part(large, large + 1, True)
        start = large + 1
    yield from _parts_of_small(content, starts, start, len(starts) - 1, limits.deepest_json)


def _parts_of_small(
    content: "NDArray[np.uint8]", starts: "NDArray[np.int32]", start: int, end: int, deepest_json: int
) -> Iterator[Part]:
    """Cut the lines from `start` to before `end`, of which none is large, by the values in them."""
    if start == end:
        return
    bounds = starts[start : end + 1]
    is_heavy, turn = np.zeros(end - start, dtype=np.bool_), np.zeros(end - start, dtype=np.int64)
    for line in np.flatnonzero(np.diff(bounds) > min(2 * deepest_json, HEAVY_VALUES)):  # others have no room for it
        text = content[bounds[line] : bounds[line + 1]].tobytes()
        is_deep = text.count(b"[") + text.count(b"{") > deepest_json
        is_heavy[line] = is_deep or (len(text) > HEAVY_VALUES and value_count(text) > HEAVY_VALUES)
    lines = content[bounds[0] : bounds[-1]]
    if _value_count(lines) > VALUES_AT_ONCE:
        is_value = np.logical_or.reduce([lines == sign for sign in VALUE_SIGNS])
        turn = np.cumsum(np.add.reduceat(is_value, bounds[:-1] - bounds[0], dtype=np.int64)) // VALUES_AT_ONCE
    cuts = np.flatnonzero((turn[1:] != turn[:-1]) | is_heavy[1:] | is_heavy[:-1]) + 1
    for first, after in pairwise([0, *cuts.tolist(), end - start]):
        yield Part(start + first, start + after, bool(is_heavy[first]))


def _value_count(content: "NDArray[np.uint8]") -> int:
    """How many values lines hold, slice by slice: what is compared then stays in the processor's own memory."""
    count, is_sign = 0, np.empty(SLICE, dtype=np.bool_)
    for start in range(0, len(content), SLICE):
        piece = content[start : start + SLICE]
        found = is_sign[: len(piece)]
        for sign in VALUE_SIGNS:
            count += int(np.count_nonzero(np.equal(piece, sign, out=found)))
    return count


def lightened(line: bytes, elements: Collection[str], limits: Limits) -> bytes | None:
    """Return a heavy line with no more than these elements of its resource; None when it is beyond the limits.

    What is no JSON stays so. Without `elements` the line stays as it is.
    """
    if len(line) > limits.longest_line or value_count(line) > MOST_VALUES or json_depth(line) > limits.deepest_json:
        return None
    if not elements or not _is_heavy(line):
        return line
    try:
        resource = orjson.loads(line)
    except orjson.JSONDecodeError:
        return b"{"
    kept = {name: resource[name] for name in elements if name in resource} if isinstance(resource, dict) else []
    light = orjson.dumps(kept)
    return None if _is_heavy(light) else light


def _is_heavy(line: bytes) -> bool:
    return len(line) > HEAVY_BYTES or value_count(line) > HEAVY_VALUES
