"""`make bench`: every claim of speed as a ratio against a peer measured in the same run.

Each bench_*.py beside this file has `rows() -> Iterator[Row]`. Absolute figures depend on the machine, ratios less so.
"""

import importlib
import sys
from pathlib import Path

from tests.benchmarks.row import Row, show


def main(wanted: list[str]) -> int:
    """Run all benches, or those named; exit 1 when a ratio misses its bound."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    rows: list[Row] = []
    for name in found:
        if wanted and name.removeprefix("bench_") not in wanted:
            continue
        for row in importlib.import_module(f"tests.benchmarks.{name}").rows():
            show(row)
            rows.append(row)
    missed = [row for row in rows if not row.is_met]
    sys.stdout.write(f"\n{len(rows)} rows, {len(missed)} below their bound\n")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
