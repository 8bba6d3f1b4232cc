"""One row of `make bench`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Row:
    """A ratio of ours against a peer, or a plain figure where there is no peer, and the bound it must keep."""

    what: str
    figure: float
    unit: str
    bound: float | None = None
    is_bound: Literal["at least", "at most"] = "at least"
    detail: str = ""

    @property
    def is_met(self) -> bool:
        if self.bound is None:
            return True
        return self.figure >= self.bound if self.is_bound == "at least" else self.figure <= self.bound


def show(row: Row) -> None:
    """Print one row at once: long benches should not look dead."""
    bound = "" if row.bound is None else f"{row.is_bound} {row.bound:g}"
    mark = "ok  " if row.is_met else "MISS"
    sys.stdout.write(f"{mark} {row.what:<58} {row.figure:>10.2f} {row.unit:<14} {bound:<14} {row.detail}\n")
    sys.stdout.flush()


def peak_mb() -> float:
    """Return the most memory that this process has had; getrusage begins with what its parent had."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024
