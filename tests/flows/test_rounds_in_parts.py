"""A round over a lake cut into parts comes to what it comes to in one part, also where it died in between."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.build_features import build_features
from flows.score import keep
from integrations.records import open_records
from tests.flows.conftest import MISSED_NIGHT, USE_CASE, PlayedHospital, Rounds, copied, rows_of

pytestmark = pytest.mark.xdist_group("played hospital")
SCORES = (
    "select site_id, patient_id, encounter_id, prediction_time, horizon_starts_at, version, purpose, stage, status, "
    "probability, band, is_at_or_above_threshold, reasons, explanation from score order by encounter_id, "
    "prediction_time, version, purpose"
)
OUTBOX = (
    "select encounter_id, prediction_time, version, identifier, outbox.status, attempts from outbox "
    "join score using (score_id) order by identifier, encounter_id, prediction_time"
)
OF_A_RUN = "select due, scored, held, excluded, version, purpose, status from run where kind = 'score' order by as_of"


NOT_OF_THE_PATIENT = ("created_at",)


@dataclass(frozen=True)
class Night:
    """A home before the rounds of its last nights, and what its round of the first of them came to in one part."""

    before: Rounds
    whole: Rounds
    at: str
    done: Any

    def copied(self, folder: Path) -> Rounds:
        return copied(self.before, folder)


LIVE_ALONE = pytest.mark.parametrize("night", ["live"], indirect=True)


@pytest.fixture(scope="module", params=["live", "silent"])
def night(played: PlayedHospital, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Night:
    """The night after a missed one: the newest rows are live or silent, those of the missed rounds are caught up."""
    folder = tmp_path_factory.mktemp(request.param)
    before, at = copied(played.rounds, folder), played.files.nights[MISSED_NIGHT].round_at
    without_rounds_since(before, f"{at:%Y-%m-%d}")
    if request.param == "silent":
        who = ("--as", "Ada", "--key", str(played.rounds.home.parent / "ada.key"))
        before.done("stage", USE_CASE, "silent", "--site", "demo", *who, "--reason", "look first")
    whole = copied(before, tmp_path_factory.mktemp("whole"))
    done = whole.done("score", USE_CASE, "--as-of", at.isoformat(), "--json").json
    assert done["new_scores"] == done["due"] > 20
    assert (done["queued"] > 5) == (request.param == "live")
    return Night(before, whole, at.isoformat(), done)


@pytest.mark.usefixtures("cut")
def test_a_round_in_parts_gives_what_one_part_gives(night: Night, tmp_path: Path) -> None:
    rounds = night.copied(tmp_path)
    assert rounds.part_count == 8
    assert rounds.done("score", USE_CASE, "--as-of", night.at, "--json").json == night.done
    for question in (SCORES, OUTBOX, OF_A_RUN):
        assert rows_of(rounds, question) == rows_of(night.whole, question)


@LIVE_ALONE
@pytest.mark.usefixtures("cut")
def test_a_round_that_died_between_its_parts_is_made_again_and_loses_and_doubles_nothing(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = night.copied(tmp_path)
    kept: Iterator[int] = iter(range(2))

    def keep_two(*args: Any, **more: Any) -> Any:
        if next(kept, None) is None:
            raise SystemExit(9)
        return keep(*args, **more)

    with monkeypatch.context() as dying:
        dying.setattr("flows.score.keep", keep_two)
        with pytest.raises(SystemExit):
            rounds("score", USE_CASE, "--as-of", night.at)
    died = rows_of(rounds, "select count(*) from score"), rows_of(rounds, "select count(*) from outbox")
    rest = rounds.done("score", USE_CASE, "--as-of", night.at, "--json").json
    assert 0 < rest["due"] < night.done["due"]
    assert died[0] > rows_of(night.before, "select count(*) from score")
    for question in (SCORES, OUTBOX):
        assert rows_of(rounds, question) == rows_of(night.whole, question)
    of_both = "select sum(due), sum(scored), sum(held), sum(excluded) from run where kind = 'score'"
    assert rows_of(rounds, of_both) == rows_of(night.whole, of_both)
    sent = rounds.done("write-back", "--as-of", night.at, "--json").json
    assert (sent["due"], sent["acknowledged"]) == (night.done["queued"], night.done["queued"])


def test_features_built_in_parts_are_those_built_in_one(
    played: PlayedHospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    built = []
    for name in ("whole", "in parts"):
        rounds = copied(played.rounds, tmp_path / name)
        shutil.rmtree(rounds.home / "features" / "offline")
        without_rounds_since(rounds, "2024-07-01")
        monkeypatch.setenv("ROUNDS_HOME", str(rounds.home))
        if name == "in parts":
            request.getfixturevalue("cut")
            assert rounds.part_count == 8
        count = build_features.fn(USE_CASE, as_of=played.files.nights[MISSED_NIGHT].round_at)
        built.append((count, features_of(rounds)))
    assert built[0] == built[1]
    assert all(len(rows) == built[0][0] > 10 for rows in built[0][1].values())


def features_of(rounds: Rounds) -> dict[str, list[Any]]:
    """The rows of each view that are kept, without when and for which spine they were computed."""
    found: dict[str, list[Any]] = {}
    for file in (rounds.home / "features" / "offline").rglob("*.parquet"):
        rows = pq.read_table(file)
        told = rows.drop_columns([name for name in NOT_OF_THE_PATIENT if name in rows.column_names]).to_pylist()
        found.setdefault(file.parent.parent.name, []).extend(map(str, told))
    return {view: sorted(rows) for view, rows in found.items()}


def without_rounds_since(rounds: Rounds, day: str) -> None:
    """The same home before its rounds from a day on."""
    records = open_records(f"sqlite:///{rounds.home / 'records.db'}")
    of_runs = f"select run_id from run where kind = 'score' and as_of >= '{day}'"
    with records.begin() as connection:
        connection.exec_driver_sql(
            f"delete from outbox where score_id in (select score_id from score where run_id in ({of_runs}))"
        )
        for table in ("score", "run"):
            connection.exec_driver_sql(f"delete from {table} where run_id in ({of_runs})")
    records.close()
