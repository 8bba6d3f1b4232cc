"""Whatever a sender makes to bring an ingest down: refused, or one record in quarantine, in bounded memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integrations.ingest.bombs import BOMBS

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
    "bad_lines_of_8_mib": {"mapped": 1, "quarantined": {"missing_id": 8}},
    "lines_full_of_values": {"mapped": 2, "quarantined": {}},
    "large_lines_full_of_values": {"mapped": 2, "quarantined": {}},
    "a_line_with_too_many_values": {"mapped": 1, "quarantined": {"beyond_limits": 1}},
    "json_100_000_deep": {"mapped": 1, "quarantined": {"beyond_limits": 21}},
    "too_many_files": {"refused": "there are more than 1,000 files and folders"},
    "one_line_of_1_gib": {"mapped": 2, "quarantined": {"beyond_limits": 1}},
}
IS_SOAK = "ROUNDS_SOAK" in os.environ  # a line of 1 GiB takes 10 CPU seconds
NAMES = [*BOMBS, *(["one_line_of_1_gib"] if IS_SOAK else [])]


def taken_in(home: Path, names: list[str], *options: str) -> dict[str, dict[str, Any]]:
    """What became of these bombs, each in a process of its own."""
    command = [sys.executable, "-m", "tests.integrations.ingest.bombs", *options, str(home), ",".join(names)]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=600, check=True)
    found = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    return {each.pop("bomb"): each for each in found}


def wrong(name: str, found: dict[str, Any]) -> str | None:
    """What is not as it must be of one bomb."""
    expected = EXPECTED[name] | {"left": 0}
    differing = {key: found.get(key) for key in expected if found.get(key) != expected[key]}
    if differing or not found.get("balances", True):
        return f"{name}: {found}"
    return f"{name} took {found['peak_mb']} MB" if found["peak_mb"] >= MOST_MB else None


def test_every_bomb_is_refused_or_set_aside_with_a_reason_in_bounded_memory(warm_ward: Path) -> None:
    found = taken_in(warm_ward, NAMES)
    findings = [finding for name in found if (finding := wrong(name, found[name]))]
    never = sorted(set(NAMES) - found.keys())
    peaks = {name: each.get("peak_mb") for name, each in found.items()}
    print(f"bombs: {len(NAMES)} tried, {len(found) - len(findings)} passed, {len(never)} never reached; MB: {peaks}")
    assert (findings, never) == ([], [])
    assert len({each["peak_mb"] > peaks["small"] + 50 for each in found.values()}) == 2  # some of them do weigh


def test_without_the_guards_the_bombs_go_off(warm_ward: Path) -> None:
    names = ["lines_full_of_values", "packed_beyond_the_limit"]
    found = taken_in(warm_ward, names, "--broken")
    assert [name for name in names if wrong(name, found[name])] == names
