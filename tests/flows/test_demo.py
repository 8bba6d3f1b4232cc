"""The demo, small: its server, its screen, and the state that it leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 900


def rounds(home: Path, *arguments: str) -> str:
    """What the command printed, when it is in order and complains of nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=CHECKOUT,
        env={**environment, "ROUNDS_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.stderr == ""
    return done.stdout


def test_a_small_demo_says_what_it_could_not_judge_and_leaves_an_ordinary_home(tmp_path: Path) -> None:
    home = tmp_path / "var"
    home.mkdir()
    (home / "earlier").write_text("state of somebody")
    screen = rounds(home, "demo", "--patients", "500", "--nights", "1", "--seed", "3")
    (aside,) = tmp_path.glob("var-*")
    assert (aside / "earlier").read_text() == "state of somebody"
    assert f"this demo starts clean; what was in {home} is now in {aside}" in " ".join(screen.split())
    assert "aki_48h: the gate says not enough data, so nobody is scored" in screen
    assert "no round was made: nobody is scored before a version is approved" in screen
    assert "scenario creatinine_unit begins with night 5, after the last night of this demo" in screen
    tables = {(each["table"], each["source"]): each for each in json.loads(rounds(home, "tables", "--json"))["tables"]}
    assert tables["patient", "demo_ehr"]["patients"] > 300
    assert [each["gate"] for each in json.loads(rounds(home, "versions", "aki_48h", "--json"))["versions"]] == [
        "not enough data"
    ]
