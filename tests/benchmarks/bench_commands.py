"""What a typed command costs: CPU seconds of its whole process, imports and all, on a small hospital."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks.row import Row
from tests.crash.killing import PRELOADED
from tests.crash.steps import SCORE, SENT, make_steps
from tests.flows.test_commands import READING

CHECKOUT = Path(__file__).resolve().parents[2]
TRIES = 3


def rows() -> Iterator[Row]:
    """Yield a row per command that only reads, and one for a small round."""
    with TemporaryDirectory() as folder:
        steps = {step.name: step for step in make_steps(Path(folder))}
        queued = steps[SENT]
        rounds(queued.before, *queued.command(0))
        for command in READING:
            spent = median(rounds(queued.before, *command) for _ in range(TRIES))
            yield _row(f"rounds {' '.join(command)}", spent, 2)
        score = steps[SCORE]
        imports = _spent(
            folder, "-c", f"import features.feast_places as f; f.import_feast(); import {', '.join(PRELOADED)}"
        )
        spent = rounds(score.before, *score.command(0))
        yield _row("rounds score, a small cohort", spent, 20, f"{imports:.1f} s of it are imports")


def rounds(home: Path, *command: str) -> float:
    """The CPU seconds of one command on a home."""
    return _spent(home, "-m", "flows.cli", *command)


def _spent(home: Path | str, *arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "ROUNDS_HOME": str(home)}
    environment.pop("PREFECT_API_URL", None)
    subprocess.run([sys.executable, *arguments], cwd=CHECKOUT, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _row(what: str, spent: float, bound: float, detail: str = "") -> Row:
    return Row(what=what, figure=spent, unit="CPU s", bound=bound, is_bound="at most", detail=detail)
