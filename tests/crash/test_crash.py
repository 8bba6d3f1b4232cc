"""A process dies at any moment; the command is given again, and everything is as if it had lived."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.crash import doubles
from tests.crash.crashes import Whole, crash, fresh_home, play_whole
from tests.crash.judge import differences, findings
from tests.crash.killing import run
from tests.crash.steps import FIRST_INGEST, SCORE, SENT, STEPS, Step, make_steps

pytestmark = pytest.mark.xdist_group("crash")

KILLS = 3
SEED = 1


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Step]:
    return {step.name: step for step in make_steps(tmp_path_factory.mktemp("crash"))}


@pytest.fixture(scope="module")
def whole(steps: dict[str, Step], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Whole]]:
    """Each step as it goes when nobody kills it, played once."""
    played: dict[str, Whole] = {}

    def of(name: str) -> Whole:
        if name not in played:
            played[name] = play_whole(steps[name], tmp_path_factory.mktemp("whole"))
        return played[name]

    return of


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_is_killed_and_given_again_leaves_what_it_would_have_left(
    name: str, whole: Callable[[str], Whole], tmp_path: Path
) -> None:
    crashed = crash(whole(name), tmp_path, Random(f"{SEED} {name}"), KILLS)
    assert crashed.findings == []
    assert crashed.deaths > 0


def test_a_home_in_which_the_step_did_nothing_differs(whole: Callable[[str], Whole]) -> None:
    lived = whole(SENT)
    differing = {finding.partition(":")[0] for finding in differences(lived.step.before, lived.state)}
    assert differing == {"RiskAssessment", "outbox", "sent"}


@pytest.mark.parametrize(
    ("name", "double", "expected"),
    [
        (SCORE, doubles.commit_scores_before_outbox, ["live scores have no outbox row", "its account says 0"]),
        (FIRST_INGEST, doubles.commit_extract_before_account, ["is committed without an account"]),
        (SENT, doubles.write_in_place, ["is not what was to be written"]),
    ],
)
def test_the_judge_sees_a_broken_order(
    name: str, double: Any, expected: list[str], steps: dict[str, Step], tmp_path: Path
) -> None:
    home = fresh_home(steps[name], tmp_path)
    assert run(home, steps[name].command(0), double=double).was_killed
    found = findings(home)
    assert [words for words in expected if not any(words in finding for finding in found)] == []


def test_the_judge_sees_a_risk_assessment_that_was_written_twice(steps: dict[str, Step], tmp_path: Path) -> None:
    step = steps[SENT]
    home = fresh_home(step, tmp_path)
    assert run(home, step.command(0), double=doubles.die_before_noting).was_killed
    assert findings(home) == []
    assert run(home, step.command(1), double=doubles.never_look).exit_code == 0
    assert [each for each in findings(home) if "was written 2 times" in each]
