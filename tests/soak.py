"""`make soak MINUTES=n`: property and crash tests over and over with new seeds, until the time is up or one fails.

The seed that comes next is kept in var/soak/seed, so that a later soak goes on where this one ended. Suites that draw
for themselves, and not by Hypothesis, find it in ROUNDS_SOAK.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SUITES = (
    "tests/integrations/ingest/test_account.py",
    "tests/integrations/ingest/test_bombs.py",
    "tests/integrations/ingest/test_killed_ingest.py",
    "tests/integrations/fhir/export/test_cut_exports.py",
    "tests/integrations/fhir/test_mutated.py",
    "tests/integrations/fhir/test_sound.py",
    "tests/integrations/hl7v2/test_anything.py",
    "tests/integrations/hl7v2/test_killed.py",
    "tests/integrations/hl7v2/test_mutated_messages.py",
    "tests/integrations/hl7v2/test_oracles.py",
    "tests/integrations/hl7v2/test_power_loss.py",
    "tests/integrations/hl7v2/test_times.py",
    "tests/crash/test_full_disk.py",
    "tests/promises/test_no_look_ahead.py",
    "tests/properties/test_as_of_oracle.py",
    "tests/properties/test_everywhere_the_same.py",
)


def main(arguments: list[str]) -> int:
    """Run for the minutes asked; exit 1 with the seed of the round that failed."""
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="begin with this seed, not where the last soak ended")
    asked = parser.parse_args(arguments)
    until = time.monotonic() + 60 * asked.minutes
    kept = CHECKOUT / "var" / "soak" / "seed"
    kept.parent.mkdir(parents=True, exist_ok=True)
    seed = asked.seed or (int(kept.read_text()) if kept.exists() else 1)
    rounds = 0
    while time.monotonic() < until:
        for command in _commands(seed):
            if subprocess.run(
                command, cwd=CHECKOUT, env={**os.environ, "ROUNDS_SOAK": str(seed)}, check=False
            ).returncode:
                sys.stdout.write(f"failed with seed {seed}, after {rounds} rounds in order: {' '.join(command[1:])}\n")
                return 1
        seed, rounds = seed + 1, rounds + 1
        kept.write_text(str(seed))
    sys.stdout.write(f"{rounds} rounds in order; the next seed is {seed}\n")
    return 0


def _commands(seed: int) -> list[list[str]]:
    """What one round runs, each so that it can be typed again by hand."""
    return [
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}", *SUITES],
        [sys.executable, "-m", "tests.crash", "--seed", str(seed)],
        [sys.executable, "-m", "tests.integrations.hl7v2.fuzz", f"-seed={seed}", "-max_total_time=60"],
    ]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
