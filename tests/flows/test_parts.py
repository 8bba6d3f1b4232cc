"""A large lake is worked part after part, and the past is scored: what comes to rest is the same, whatever the cut."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.house import House
from flows.score import keep, known_of, score_part
from integrations.records import open_records
from tests.flows.conftest import USE_CASE, PlayedHospital, Rounds, copied, rows_of

pytestmark = pytest.mark.xdist_group("played hospital")
SPAN = ("--from", "2024-06-10", "--to", "2024-06-30")
KEYS = "site_id, patient_id, encounter_id, prediction_time"


@pytest.fixture(scope="module")
def whole(played: PlayedHospital, tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """The past scored, and a version trained, in one part."""
    rounds = without_backfill(copied(played.rounds, tmp_path_factory.mktemp("whole")))
    rounds.done("backfill", USE_CASE, *SPAN)
    rounds.done("train", USE_CASE, "--seed", "3", "--as-of", _end(played))
    return rounds


@pytest.fixture
def fresh(played: PlayedHospital, tmp_path: Path) -> Rounds:
    return without_backfill(copied(played.rounds, tmp_path))


def without_backfill(rounds: Rounds) -> Rounds:
    """The same home, of whose past nobody has asked yet."""
    records = open_records(f"sqlite:///{rounds.home / 'records.db'}")
    with records.begin() as connection:
        connection.exec_driver_sql("delete from score where purpose = 'backfill'")
    records.close()
    return rounds


@pytest.mark.usefixtures("cut")
def test_parts_give_the_scores_and_the_model_that_one_part_gives(
    played: PlayedHospital, whole: Rounds, fresh: Rounds
) -> None:
    assert fresh.part_count == 8
    said = fresh.done("backfill", USE_CASE, *SPAN).out
    assert "score part: 8 of 8 parts done" in said
    assert len(_backfilled(whole)) > 300
    assert _backfilled(fresh) == _backfilled(whole)
    fresh.done("train", USE_CASE, "--seed", "3", "--as-of", _end(played))
    assert _model(fresh) == _model(whole)
    assert not list((fresh.home / "tmp").glob("train-*"))
    watched = ("monitor", USE_CASE, "--no-report", "--json", "--as-of", _end(played))
    assert fresh.done(*watched).json == whole.done(*watched).json


def test_a_plan_says_what_the_backfill_does_and_the_past_is_never_sent(whole: Rounds, fresh: Rounds) -> None:
    queued = rows_of(fresh, "select * from outbox order by score_id")
    plan = fresh.done("backfill", USE_CASE, *SPAN, "--dry-run", "--json").json
    assert _backfilled(fresh) == []
    done = fresh.done("backfill", USE_CASE, *SPAN, "--json").json
    assert plan == {**done, "is_plan": True}
    assert done["due"] == done["scored"] + done["held"] + done["excluded"] == len(_backfilled(fresh))
    assert done["queued"] == 0
    assert rows_of(fresh, "select * from outbox order by score_id") == queued != []


def test_a_backfill_looks_at_its_span_and_at_what_has_no_score(whole: Rounds, fresh: Rounds) -> None:
    first = fresh.done("backfill", USE_CASE, "--from", "2024-06-10", "--to", "2024-06-20", "--json").json
    rest = fresh.done("backfill", USE_CASE, *SPAN, "--json").json
    assert 0 < first["new_scores"] < len(_backfilled(whole))
    assert rest["due"] == rest["new_scores"] == len(_backfilled(whole)) - first["new_scores"]
    assert _backfilled(fresh) == _backfilled(whole)
    again = fresh.done("backfill", USE_CASE, *SPAN, "--json").json
    assert (again["due"], again["new_scores"]) == (0, 0)
    backwards = fresh("backfill", USE_CASE, "--from", "2024-06-20", "--to", "2024-06-10")
    assert backwards.code == 2
    assert "2024-06-10 lies before 2024-06-20" in backwards.err


@pytest.mark.usefixtures("cut")
def test_a_backfill_that_died_is_gone_on_with_and_every_run_counts_its_own(
    whole: Rounds, fresh: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.score.ROWS_AT_ONCE", 50)
    kept: Iterator[int] = iter(range(5))

    def keep_some(*args: Any, **more: Any) -> Any:
        if next(kept, None) is None:
            raise SystemExit(9)
        return keep(*args, **more)

    with monkeypatch.context() as dying:
        dying.setattr("flows.score.keep", keep_some)
        with pytest.raises(SystemExit):
            fresh("backfill", USE_CASE, *SPAN)
    died = len(_backfilled(fresh))
    assert 0 < died < len(_backfilled(whole))
    done = fresh.done("backfill", USE_CASE, *SPAN, "--json").json
    assert done["due"] == len(_backfilled(whole)) - died
    assert _backfilled(fresh) == _backfilled(whole)
    counted = (
        "select due, scored + held + excluded, count(score_id), run.purpose from run join score using (run_id) "
        "where score.purpose = 'backfill' group by run_id"
    )
    accounts = rows_of(fresh, counted)
    assert len(accounts) == 2
    assert all(due == account == scores and purpose == "backfill" for due, account, scores, purpose in accounts)


def test_a_second_copy_of_a_part_that_was_only_thought_lost_counts_nothing_twice(
    whole: Rounds, fresh: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: Iterator[int] = iter(range(1))

    def while_another_copy_comes_to_its_end(house: House, lake: Any, this: Any, part: Any, spine: Any) -> Any:
        found = known_of(house, lake, this, part, spine)
        if next(copies, None) is not None:
            (run_id,) = rows_of(fresh, "select run_id from run where status = 'running'")
            score_part(house, this, part, str(run_id[0]), False)
        return found

    monkeypatch.setattr("flows.score.known_of", while_another_copy_comes_to_its_end)
    done = fresh.done("backfill", USE_CASE, *SPAN, "--json").json
    assert done["due"] == done["scored"] + done["held"] + done["excluded"] == done["new_scores"]
    assert _backfilled(fresh) == _backfilled(whole)
    assert len(_backfilled(fresh)) == done["due"]


def _end(played: PlayedHospital) -> str:
    return str(played.files.nights[-1].round_at.isoformat())


def _backfilled(rounds: Rounds) -> list[Any]:
    what = f"{KEYS}, horizon_starts_at, version, status, probability, band, is_at_or_above_threshold, reasons"
    return rows_of(rounds, f"select {what} from score where purpose = 'backfill' order by {KEYS}")


def _model(rounds: Rounds) -> dict[str, str]:
    """The hashes of what the second version learnt from and was judged by; its held-out rows carry their risks."""
    ((manifest,),) = rows_of(rounds, "select manifest from model_version where version = 2")
    hashes = {Path(path).name: digest for path, digest in json.loads(manifest).items()}
    return {name: hashes[name] for name in ("evaluation.json", "reference.json", "held_out.parquet")}
