"""What the watch takes from a release: mended is found when it returns, usual is not."""

from datetime import timedelta
from pathlib import Path

import pytest

from integrations.synthetic_hospital.calendar import extract_taken_at
from integrations.synthetic_hospital.hospital import Hospital
from integrations.watch.kept import findings
from models.governance.finding_release import release_finding
from models.governance.people import add_person
from models.governance.signing import Signer, load_signer
from tests.integrations.watch.conftest import OpenFeed, feed
from tests.integrations.watch.nights import Nights
from tests.integrations.watch.test_faults import GLUCOSE_IN_MMOL, PATIENTS

__all__ = ["feed"]
FIRST = 6  # the bad night
HOUR = timedelta(hours=1)


@pytest.fixture
def nights(feed: OpenFeed) -> Nights:
    """A laboratory that has sent glucose in mmol/L under the name of mg/dL for one night, after five good ones."""
    watched = feed("demo_lis", Hospital(patients=PATIENTS, nights=9, scenario="none", seed=3))
    watched.learn(range(1, FIRST))
    assert jumps(watched, FIRST) == ["2345-7"]
    return watched


@pytest.fixture
def ada(nights: Nights, home: Path, tmp_path: Path) -> Signer:
    key = tmp_path / "ada.key"
    at = extract_taken_at(1)
    add_person(nights.records, name="Ada", role="engineer", key_out=key, as_of=at, signer=None, home=home)
    return load_signer("Ada", key)


def jumps(nights: Nights, night: int, *, is_wrong: bool = True) -> list[str]:
    found = nights.play([night], GLUCOSE_IN_MMOL if is_wrong else None)
    return [each.subject for each in found if each.kind == "scale_jump" and each.severity == "blocking"]


def release(nights: Nights, signer: Signer, *, is_usual: bool) -> None:
    with nights.records.read() as db:
        [row] = [each for each in findings(db) if each.kind == "scale_jump"]
    release_finding(
        nights.records,
        finding_id=row.finding_id,
        signer=signer,
        reason="the analyser was set right",
        is_usual=is_usual,
        as_of=extract_taken_at(FIRST) + HOUR,
    )


def test_what_was_mended_is_found_again_when_it_returns(nights: Nights, ada: Signer) -> None:
    release(nights, ada, is_usual=False)
    assert jumps(nights, FIRST + 1, is_wrong=False) == []
    assert jumps(nights, FIRST + 2) == ["2345-7"]
    with nights.records.read() as db:
        assert [each.opened_at for each in findings(db) if each.kind == "scale_jump"] == [extract_taken_at(FIRST + 2)]


def test_what_was_taken_for_usual_is_not_found_again_nor_is_the_old_scale(nights: Nights, ada: Signer) -> None:
    release(nights, ada, is_usual=True)
    assert jumps(nights, FIRST + 1) == []
    assert jumps(nights, FIRST + 2, is_wrong=False) == []
