"""Lines that would cost DuckDB more memory than it has: apart from others, with what the view reads, or not at all.

Whatever parses JSON takes, for all lines that it is given at once, up to 4 bytes for each byte and 50 for each value;
DuckDB keeps that per thread and for each place where a query reads the line. So lines are handed on a megabyte at once
(lines.CHUNK), which is at most half a million values, and heavy ones alone.
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

HEAVY_BYTES, HEAVY_VALUES = 1 << 20, 100_000  # of one line; FHIR itself allows a string 1 MB


@dataclass(frozen=True)
class Part:
    """Lines of a block, from `start` up to before `end`; one that must be looked at first stands alone."""

    start: int
    end: int
    is_heavy: bool


def parts(content: "NDArray[np.uint8]", starts: "NDArray[np.int32]", limits: Limits) -> Iterator[Part]:
    """Cut a block, whose lines begin at `starts` and end where the last one says, into what can be read at once."""
    count, lengths = len(starts) - 1, np.diff(starts)
    is_heavy = lengths > min(HEAVY_BYTES, limits.longest_line)
    # A shorter line has no room for what would make it heavy.
    for line in np.flatnonzero(~is_heavy & (lengths > min(2 * limits.deepest_json, HEAVY_VALUES))).tolist():
        text = content[starts[line] : starts[line + 1]].tobytes()
        is_deep = text.count(b"[") + text.count(b"{") > limits.deepest_json
        is_heavy[line] = is_deep or (len(text) > HEAVY_VALUES and value_count(text) > HEAVY_VALUES)
    cuts = np.flatnonzero(is_heavy[1:] | is_heavy[:-1]) + 1
    for first, after in pairwise([0, *cuts.tolist(), count]):
        yield Part(first, after, bool(is_heavy[first]))


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
