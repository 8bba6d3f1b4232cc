"""`python -m tests.crash --seed N`: the crash tests with many kills, drawn from one seed; `make soak` calls it."""

import argparse
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.crash.crashes import crash, play_whole
from tests.crash.steps import make_steps


def main(arguments: list[str]) -> int:
    """Crash every step so many times as asked; exit 1 with what the judge found."""
    parser = argparse.ArgumentParser(prog="crash")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=5, help="how many times each step, with one to three kills each")
    parser.add_argument("--step", default="", help="only steps whose name holds this word")
    asked = parser.parse_args(arguments)
    deaths = 0
    with TemporaryDirectory(prefix="rounds-crash-") as place:
        folder = Path(place)
        steps = [step for step in make_steps(folder) if asked.step in step.name]
        for whole in [play_whole(step, folder / "work") for step in steps]:
            random = Random(f"{asked.seed} {whole.step.name}")
            for _ in range(asked.times):
                crashed = crash(whole, folder / "work", random, kills=random.randint(1, 3))
                if crashed.findings:
                    sys.stdout.write("\n".join([*crashed.findings, ""]))
                    return 1
                deaths += crashed.deaths
    sys.stdout.write(f"{deaths} processes were killed, and everything is as if they had lived\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
