"""Kill a step again and again, give the command once more, and let the judge compare with a life without a crash."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.crash.judge import Rows, differences, findings, findings_at_rest, state
from tests.crash.killing import Run, draw_kill, run
from tests.crash.steps import Step, in_order


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A step that nobody killed: how long it lived, and what it left."""

    step: Step
    run: Run
    state: dict[str, Rows]


@dataclass(frozen=True, kw_only=True)
class Crashed:
    """What became of a step that was killed some times: what the judge found, and how many lives ended early."""

    findings: list[str]
    deaths: int


def play_whole(step: Step, folder: Path) -> Whole:
    """Let a step live, and keep what it leaves as the measure for those that are killed."""
    home = fresh_home(step, folder)
    lived = in_order(run(home, step.command(0)), step.name)
    wrong = findings_at_rest(home)
    if wrong:
        raise AssertionError(f"{step.name}, without a crash: {wrong}")
    return Whole(step=step, run=lived, state=state(home))


def crash(whole: Whole, folder: Path, random: Random, kills: int) -> Crashed:
    """Kill a step so many times, each time from where the last one left it; then let it end, and judge."""
    step, home = whole.step, fresh_home(whole.step, folder)
    found: list[str] = []
    drawn, deaths = [], 0
    for life in range(kills):
        drawn.append(draw_kill(random, whole.run))
        ended = run(home, step.command(life), kill=drawn[-1])
        if ended.was_killed:
            deaths += 1
        else:
            in_order(ended, f"{step.name} under {drawn}")
        found += [f"{step.name} after {drawn}: {finding}" for finding in findings(home)]
    in_order(run(home, step.command(kills)), f"{step.name} after {drawn}")
    at_rest = [*findings_at_rest(home), *differences(home, whole.state)]
    found += [f"{step.name} after {drawn} and once more: {finding}" for finding in at_rest]
    return Crashed(findings=found, deaths=deaths)


def fresh_home(step: Step, folder: Path) -> Path:
    """A home as it is before the step."""
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(step.before, home)
    return home
