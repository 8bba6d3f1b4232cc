"""Whatever a sender makes to bring an ingest down: refused, or one record in quarantine, in bounded memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.ingest.bombs import BOMBS, BROKEN

pytestmark = pytest.mark.xdist_group("bombs")

MOST_MB = 512
CHECKOUT = Path(__file__).resolve().parents[3]
EXPECTED: dict[str, dict[str, Any]] = {
    "small": {"mapped": 1, "quarantined": {}},
    "blank_lines_packed_a_thousand_to_one": {"mapped": 1, "quarantined": {}},
    "one_line_packed_a_thousand_to_one": {"mapped": 1, "quarantined": {"beyond_limits": 1}},
    "packed_beyond_the_limit": {"refused": "packed files come to more than they may"},
    "a_file_beyond_the_limit": {"refused": "a file is larger than 157,286,400 bytes"},
    "one_line_of_96_mib": {"mapped": 2, "quarantined": {"beyond_limits": 1}},
    "a_line_of_31_mib_that_is_within_the_limit": {"mapped": 2, "quarantined": {}},
    "bad_lines_of_8_mib": {"mapped": 1, "quarantined": {"missing_id": 4}},
    "lines_full_of_values": {"mapped": 2, "quarantined": {}},
    "lines_of_numbers": {"mapped": 2, "quarantined": {}},
    "large_lines_full_of_values": {"mapped": 2, "quarantined": {}},
    "a_line_with_too_many_values": {"mapped": 1, "quarantined": {"beyond_limits": 1}},
    "json_100_000_deep": {"mapped": 1, "quarantined": {"beyond_limits": 21}},
    "too_many_files": {"refused": "there are more than 1,000 files and folders"},
    "one_line_of_1_gib": {"mapped": 2, "quarantined": {"beyond_limits": 1}},
}
GUARDED = ["lines_full_of_values", "packed_beyond_the_limit"]
IS_SOAK = "ROUNDS_SOAK" in os.environ  # a line of 1 GiB takes 10 CPU seconds
NAMES = [*BOMBS, *(["one_line_of_1_gib"] if IS_SOAK else [])]


@pytest.fixture(scope="module")
def found(warm_ward: Path) -> dict[str, dict[str, Any]]:
    """What became of the bombs, and of those that met no guards, each in a process of its own."""
    names = ",".join([*NAMES, *(f"{BROKEN}{name}" for name in GUARDED)])
    command = [sys.executable, "-m", "tests.integrations.ingest.bombs", str(warm_ward), names]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=600, check=True)
    each = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    return {one.pop("bomb"): one for one in each}


def wrong(name: str, found: dict[str, Any]) -> str | None:
    """What is not as it must be of one bomb."""
    expected = EXPECTED[name] | {"left": 0}
    differing = {key: found.get(key) for key in expected if found.get(key) != expected[key]}
    if differing or not found.get("balances", True):
        return f"{name}: {found}"
    return f"{name} took {found['peak_mb']} MB" if found["peak_mb"] >= MOST_MB else None


def test_every_bomb_is_refused_or_set_aside_with_a_reason_in_bounded_memory(found: dict[str, dict[str, Any]]) -> None:
    never = [name for name in NAMES if name not in found]
    reached = [name for name in NAMES if name in found]
    findings = [finding for name in reached if (finding := wrong(name, found[name]))]
    peaks = {name: found[name].get("peak_mb") for name in reached}
    print(f"bombs: {len(NAMES)} tried, {len(reached) - len(findings)} passed, {len(never)} never reached; MB: {peaks}")
    assert (findings, never) == ([], [])
    assert max(peaks.values()) > peaks["small"] + 50  # some of them do weigh


def test_without_the_guards_the_bombs_go_off(found: dict[str, dict[str, Any]]) -> None:
    assert [name for name in GUARDED if wrong(name, found[f"{BROKEN}{name}"])] == GUARDED
