"""A disk is full at some moment of an ingest: it stops with a sentence, and once there is room it is as if there always
had been. And two ingests at once: one is told to wait."""

import gzip
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import write_hospital
from tests.crash.crashes import Whole, fresh_home, play_whole
from tests.crash.full_disk import (
    files_may_grow_to,
    full_when_the_lake_commits,
    full_when_the_lake_writes,
    nobody_minds_a_full_lake,
)
from tests.crash.judge import differences, findings, findings_at_rest
from tests.crash.killing import run
from tests.crash.steps import Step, in_order, ingest

pytestmark = pytest.mark.xdist_group("crash")

EXIT_CODE = 3
BAD_LINE = b'{"resourceType":"Condition","note":"' + b"x" * 2_000 + b'"}\n'  # 2 MB of them, and 4 MB in records
# The largest file of each place, in the order in which they are written: new records 0.5 MB, landing 1 MB,
# scratch 2 MB, records 4 MB.
DISKS: dict[str, tuple[Callable[[], None], str]] = {
    "records that are new": (partial(files_may_grow_to, 20_000), "records.db"),
    "landing": (partial(files_may_grow_to, 800_000), "landing"),
    "scratch": (partial(files_may_grow_to, 1_700_000), "tmp"),
    "lake": (full_when_the_lake_writes, "lake"),
    "log of the lake": (full_when_the_lake_commits, "lake"),
    "records": (partial(files_may_grow_to, 3_000_000), "records.db"),
}
ONLY_IN_SOAK = ("records that are new", "log of the lake")
PLACES = [place for place in DISKS if "ROUNDS_SOAK" in os.environ or place not in ONLY_IN_SOAK]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The first ingest of a small hospital, with some bad lines in a packed file, on a disk with room."""
    folder = tmp_path_factory.mktemp("full_disk")
    files = write_hospital(Hospital(patients=30, nights=0, scenario="none", seed=4), folder / "hospital")
    (files.history / "manifest.json").unlink()
    (files.history / "Condition.bad.ndjson.gz").write_bytes(gzip.compress(BAD_LINE * 1_000))
    nothing = folder / "nothing"
    nothing.mkdir(mode=0o700)
    command = ingest("demo_ehr", files.history, files.history_taken_at, "--history")
    return play_whole(Step(name="ingest", before=nothing, lives=(command,)), folder)


@pytest.mark.parametrize("place", PLACES)
def test_an_ingest_stops_at_a_full_disk_and_goes_on_when_there_is_room(
    whole: Whole, tmp_path: Path, place: str
) -> None:
    full, where = DISKS[place]
    home = fresh_home(whole.step, tmp_path)
    stopped = run(home, whole.step.command(0), double=full)
    assert stopped.exit_code == EXIT_CODE, stopped.said
    assert f"home/{where}" in stopped.said.splitlines()[1]
    assert stopped.said.count("home/") == 1
    assert [sign for sign in ("Traceback", "MRN", "Abbott", "demo_ehr/p", '{"') if sign in stopped.said] == []
    assert findings(home) == []
    in_order(run(home, whole.step.command(1)), f"after a full disk in {place}")
    assert [*findings_at_rest(home), *differences(home, whole.state)] == []
    print(f"full disk in {place}: tried 1, passed 1, never reached 0")


def test_the_judge_sees_an_ingest_that_goes_on_without_what_it_could_not_write(whole: Whole, tmp_path: Path) -> None:
    home = fresh_home(whole.step, tmp_path)
    in_order(run(home, whole.step.command(0), double=nobody_minds_a_full_lake), "broken on purpose")
    assert [finding for finding in findings(home) if "readers see 0 rows" in finding]


def wait_while_landed(sign: Path) -> None:
    """Stand still in the midst of an ingest, until the sign is taken away."""
    from integrations.ingest import run as door

    settle = door.settle  # type: ignore[attr-defined]

    def waiting(*arguments: Any) -> Any:
        sign.touch()
        while sign.exists():
            time.sleep(0.02)
        return settle(*arguments)

    door.settle = waiting  # type: ignore[attr-defined]


def test_of_two_ingests_at_once_one_is_told_to_wait_and_harms_nothing(whole: Whole, tmp_path: Path) -> None:
    home, sign, ended = fresh_home(whole.step, tmp_path), tmp_path / "sign", []
    other = tmp_path / "other"  # the same home under another name, so that each process says what it says apart
    other.symlink_to(home)
    double = partial(wait_while_landed, sign)
    first = threading.Thread(target=lambda: ended.append(run(home, whole.step.command(0), double=double)))
    first.start()
    until = time.monotonic() + 120
    while not sign.exists() and time.monotonic() < until:
        time.sleep(0.02)
    second = run(other, whole.step.command(0))
    sign.unlink()
    first.join()
    assert (second.exit_code, "another ingest is running" in second.said) == (1, True)
    assert ended[0].exit_code == 0, ended[0].said
    assert [*findings_at_rest(home), *differences(home, whole.state)] == []
