"""A score gives way only as it was found: not to a round that knows less, to its own run, or to a look at the past."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

import flows.score
from flows.anew import HANDED_OVER as HANDED_OVER_ALREADY
from flows.due import Round
from flows.house import House
from flows.score import ScoringRun, keep, score_part
from integrations.errors import NotInOrder
from integrations.records import schema as s
from tests.flows.conftest import Rounds, copied
from tests.stories.intensive_care import CORRECTED, FIRST, HELD, NAME, QUEUED, SAME, ByHeartRate, IntensiveCare

pytestmark = pytest.mark.xdist_group("sent again")
MORNING = datetime(2000, 1, 3, 6, tzinfo=UTC)  # by the clock of the feed: the stays are new enough for a round


@pytest.fixture(scope="module")
def told_model() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(House, "model", lambda *_: ByHeartRate())
        patch.setattr("models.explanation.explain", lambda *_: {})
        yield


@pytest.fixture(scope="module")
def scored_once(told_model: None, tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    folder = tmp_path_factory.mktemp("once")
    care = IntensiveCare(Rounds(folder / "home"), folder)
    care.send(1, {name: FIRST[name] for name in (CORRECTED, SAME, QUEUED)})
    care.score()
    return care.rounds


@pytest.fixture
def care(scored_once: Rounds, tmp_path: Path) -> IntensiveCare:
    return IntensiveCare(copied(scored_once, tmp_path), tmp_path)


def begin(care: IntensiveCare, run_id: str) -> Round:
    """A run that is at work, and the round it makes of the newest snapshot."""
    now = datetime.now(UTC)
    running = {"run_id": run_id, "kind": "score", "as_of": now, "started_at": now, "status": "running"}
    with care.house.records.begin() as connection:
        connection.execute(insert(s.run).values(**running, use_case=NAME))
    return Round.of(care.house, NAME, as_of=now, version=1, all_due=True)


def before_it_keeps(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, after a part has found who is due and before it writes."""
    once: Iterator[int] = iter(range(1))

    def late(*args: Any) -> ScoringRun | None:
        if next(once, None) is not None:
            elsewhere = threading.Thread(target=happens)
            elsewhere.start()
            elsewhere.join()
        return keep(*args)

    monkeypatch.setattr(flows.score, "keep", late)


def test_a_slow_round_leaves_what_a_newer_one_has_made_anew_meanwhile(
    care: IntensiveCare, monkeypatch: pytest.MonkeyPatch
) -> None:
    care.send(2, {CORRECTED: (60, "01:00,HR,100\n")})
    slow = begin(care, "slow")
    before_it_keeps(monkeypatch, lambda: (care.send(3, {CORRECTED: (60, "01:00,HR,130\n")}), care.score()))
    run = score_part(care.house, slow, None, "slow", False)
    assert care.scores()[CORRECTED] == ("scored", 0.13)
    assert care.scores(s.superseded_score)[CORRECTED] == ("scored", 0.08)
    assert (run.due, run.account.due, run.superseded) == (0, 0, 0)


def test_a_part_that_is_tried_again_makes_nothing_anew_that_its_own_run_has_written(care: IntensiveCare) -> None:
    care.send(2, {SAME: (60, "01:00,HR,71\n02:00,pH,735\n"), CORRECTED: (60, "01:00,HR,100\n")})
    this = begin(care, "twice")
    assert score_part(care.house, this, None, "twice", False).superseded == 2
    with care.house.records.begin() as connection:  # what an ingest that began before the round has set aside
        aside = dict(connection.execute(select(s.quarantine)).mappings().one())
        del aside["quarantine_id"]
        other = {"patient_id": f"physionet2012/{CORRECTED}", "source_line": 999, "record_hash": "other"}
        connection.execute(insert(s.quarantine).values(**{**aside, **other}))
    again = score_part(care.house, this, None, "twice", False)
    assert (again.due, again.superseded, care.scores()[CORRECTED]) == (0, 0, ("scored", 0.1))
    next_one = score_part(care.house, begin(care, "next"), None, "next", False)
    assert (next_one.due, next_one.account.held, care.scores()[CORRECTED]) == (1, 1, ("held", None))


def test_a_part_that_never_comes_to_keep_anything_ends_with_an_error(
    care: IntensiveCare, monkeypatch: pytest.MonkeyPatch
) -> None:
    care.send(2, {CORRECTED: (60, "01:00,HR,100\n")})
    this = begin(care, "in vain")
    monkeypatch.setattr(flows.score, "keep", lambda *_: None)
    with pytest.raises(NotInOrder, match="1 rows of a part are due, however often it is looked"):
        score_part(care.house, this, None, "in vain", False)


@pytest.mark.parametrize("attempts", [0, 1])
def test_a_live_score_nobody_tried_to_send_gives_way_to_a_live_one_only(
    care: IntensiveCare, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    monkeypatch.setattr("flows.due.stage_of", lambda *_: "live")
    care.to_the_ehr({QUEUED: ("queued", 0)})
    care.send(2, {QUEUED: (60, "01:00,HR,63\n")})
    live = replace(begin(care, "live"), is_champion=True, all_due=False, as_of=MORNING)
    outbox = s.outbox.update().values(attempts=attempts)

    def the_ehr_is_tried() -> None:
        with care.house.records.begin() as connection:
            connection.execute(outbox)

    before_it_keeps(monkeypatch, the_ehr_is_tried)
    run = score_part(care.house, live, None, "live", False)
    with care.house.records.read() as connection:
        queued_at = connection.execute(
            select(s.outbox.c.queued_at)
            .join(s.score, s.score.c.score_id == s.outbox.c.score_id)
            .where(s.score.c.source_encounter_id == QUEUED)
        ).scalar_one()
    if attempts:
        assert care.scores()[QUEUED] == ("scored", 0.062)
        assert (run.superseded, run.left, run.due == run.account.due) == (0, {HANDED_OVER_ALREADY: 1}, True)
        assert queued_at != MORNING
    else:
        assert care.scores()[QUEUED] == ("scored", 0.063)
        assert (run.superseded, run.left, queued_at) == (1, {}, MORNING)


def test_a_backfill_takes_no_live_score_out_of_the_outbox(care: IntensiveCare) -> None:
    care.to_the_ehr({QUEUED: ("queued", 0)})
    care.send(2, {QUEUED: (60, "01:00,HR,63\n"), SAME: (60, "01:00,HR,71\n")})
    span = ("--from", "2000-01-01T00:00:00+00:00", "--to", "2000-02-01T00:00:00+00:00", "--version", "1")
    run = care.rounds.done("backfill", NAME, *span, "--json").json
    assert (run["due"], run["superseded"]) == (1, 1)
    assert list(run["left"].values()) == [1]
    assert "their purpose is more than this run would score them for" in next(iter(run["left"]))
    assert (care.scores()[QUEUED], care.scores()[SAME]) == (("scored", 0.062), ("scored", 0.071))
    with care.house.records.read() as connection:
        assert connection.execute(select(s.outbox.c.identifier, s.outbox.c.status)).all() == [(QUEUED, "queued")]


def test_a_hold_of_a_silent_round_that_has_ended_gives_way_to_a_score(care: IntensiveCare) -> None:
    care.send(2, {HELD: FIRST[HELD]})
    assert care.score()["held"] == 1
    with care.house.records.begin() as connection:
        of_two = s.score.c.source_encounter_id.in_([HELD, SAME])
        connection.execute(s.score.update().where(of_two).values(purpose="silent"))
    care.send(3, {HELD: (60, "01:00,HR,90\n02:00,pH,7.35\n"), SAME: (60, "01:00,HR,71\n")})
    run = care.score()
    assert (run["due"], run["superseded"], sum(run["left"].values())) == (1, 1, 1)
    assert (care.scores()[HELD], care.scores()[SAME]) == (("scored", 0.09), ("scored", 0.07))
