"""Death in intensive care, on real stays: learnt from some, asked of others whose outcome the house has never seen.

A third of set a, so that it stays short: `make bench ARGS=icu_mortality` has the figures of all, by cross-validation.
"""

import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.icu_mortality_48h.use_case import USE_CASE
from tests.benchmarks.challenge import best_threshold, event_1, event_2, outcomes, unpack
from tests.flows.conftest import Rounds

pytestmark = pytest.mark.xdist_group("intensive care")
NAME, EVERY, HELD_OUT = "icu_mortality_48h", 3, 400
# what somebody may send: only a number, descriptors alone, no age, nothing that can be, other ends of lines, no line
ODD = {
    "999001": "Time,Parameter,Value\n00:00,RecordID,999001\n",
    "999002": "Time,Parameter,Value\n00:00,RecordID,999002\n00:00,Age,50\n00:00,Gender,-1\n00:00,Height,-1\n"
    "00:00,ICUType,4\n00:00,Weight,-1\n",
    "999003": "Time,Parameter,Value\n00:00,RecordID,999003\n00:00,Age,-1\n00:00,ICUType,1\n01:00,HR,80\n",
    "999004": "Time,Parameter,Value\n00:00,RecordID,999004\n00:00,Age,60\n00:00,ICUType,2\n01:00,pH,735\n01:00,HR,90\n",
    "999005": "Time,Parameter,Value\r\n00:00,RecordID,999005\r\n00:00,Age,80\r\n00:00,ICUType,3\r\n01:00,HR,80\r\n",
    "999006": "Time,Parameter,Value\n",
}


@dataclass(frozen=True)
class Asked:
    """What the house was told, and what it says of stays without outcomes."""

    trained: dict[str, Any]
    ingested: dict[str, Any]
    run: dict[str, Any]
    scores: dict[str, dict[str, str]]  # by RecordID
    excluded: dict[str, list[str]]  # reasons by RecordID
    beside: str
    known: dict[str, dict[str, str]]
    learnt: tuple[str, ...]
    held_out: tuple[str, ...]


@pytest.fixture(scope="module")
def asked(needs_shared: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Asked:
    shared, home = needs_shared("data/physionet2012"), tmp_path_factory.mktemp("icu")
    stays = unpack(shared, home / "all", every=EVERY)
    dealt = np.random.default_rng(2012).permutation(stays).tolist()
    held_out, learnt = tuple(dealt[:HELD_OUT]), tuple(dealt[HELD_OUT:])
    for folder, names in (("with", learnt), ("without", held_out)):
        (home / folder).mkdir()
        for name in names:
            (home / "all" / f"{name}.txt").rename(home / folder / f"{name}.txt")
    shutil.copyfile(shared / "Outcomes-a.txt", home / "with" / "Outcomes-a.txt")
    for name, text in ODD.items():
        (home / "without" / f"{name}.txt").write_bytes(text.encode())
    for name in (".DS_Store", "list of stays (1).docx", "999007.txt"):
        (home / "without" / name).write_bytes(b"")
    rounds = Rounds(home / "home")
    rounds.done("ingest", "physionet2012", "--from", str(home / "with"))
    trained = rounds.done("train", NAME, "--json").json
    ingested = rounds.done("ingest", "physionet2012", "--from", str(home / "without"), "--json").json
    run = rounds.done("score", NAME, "--all-due", "--version", str(trained["version"]), "--json").json
    listed = rounds.done("scores", NAME, "--csv")
    named = rounds.done("scores", NAME, "--json").json["excluded_rows"]
    rows = csv.DictReader(io.StringIO(listed.out))
    return Asked(
        trained=trained,
        ingested=ingested,
        run=run,
        scores={row["source_encounter_id"]: row for row in rows},
        excluded={row["source_encounter_id"]: row["reasons"] for row in named},
        beside=listed.err,
        known=outcomes(shared),
        learnt=learnt,
        held_out=held_out,
    )


def test_every_line_of_the_stays_is_accounted_for(asked: Asked) -> None:
    for table, account in asked.ingested["accounts"].items():
        parts = ("mapped", "unchanged", "out_of_scope", "waiting", "quarantined")
        assert account["received"] == sum(account[part] for part in parts), table
    assert asked.ingested["accounts"]["encounter"]["mapped"] == HELD_OUT + len(ODD)


def test_files_that_are_no_stays_are_told_and_stop_nothing(asked: Asked) -> None:
    assert asked.ingested["litter_count"] == 1
    assert asked.ingested["files_left_out"] == {
        "its name is not that of a stay (six digits and .txt), nor of outcomes": 1
    }
    assert asked.ingested["accounts"]["encounter"]["quarantined"] == 1, "the empty file"


def test_the_gate_judges_by_patients_who_were_left_out(asked: Asked) -> None:
    evaluation = asked.trained["evaluation"]
    assert evaluation["gate"] != "not enough data"
    assert evaluation["figures"]["auroc"]["value"] > 0.80
    assert "dates of this source are shifted" in evaluation["design"]
    assert asked.trained["rows"] > 0.98 * len(asked.learnt)


def test_each_stay_without_outcome_has_its_risk_and_its_call_by_record_id(asked: Asked) -> None:
    rows = [asked.scores[name] for name in asked.held_out if name not in asked.excluded]
    scored = [row for row in rows if row["status"] == "scored"]
    assert len(scored) >= HELD_OUT - 3
    assert all(0 < float(row["probability"]) < 1 for row in scored)
    threshold = USE_CASE.write_back.threshold
    assert all(row["is_at_or_above_threshold"] == str(int(float(row["probability"]) >= threshold)) for row in scored)
    assert asked.run["due"] == asked.run["scored"] + asked.run["held"] + asked.run["excluded"]


def test_the_calls_agree_with_what_came_better_than_saps_1_on_the_same_stays(asked: Asked) -> None:
    died = died_of(asked, asked.held_out)
    # who has no risk, held or excluded, counts as not called
    rows = [asked.scores.get(name, {"probability": "", "is_at_or_above_threshold": ""}) for name in asked.held_out]
    risk = np.array([float(row["probability"] or 0) for row in rows])
    called = np.array([row["is_at_or_above_threshold"] == "1" for row in rows])
    peer_threshold = best_threshold(died_of(asked, asked.learnt), saps_of(asked, asked.learnt))
    peer = event_1(died, saps_of(asked, asked.held_out) >= peer_threshold)
    assert event_1(died, called) > peer + 0.05
    assert event_1(died, called) > 0.40
    assert event_2(died, risk) < 60
    shuffled = np.random.default_rng(0).permutation(called)
    assert event_1(died, shuffled) < peer + 0.05, "a house that guessed would pass"


def test_odd_files_are_scored_where_there_is_a_patient_to_speak_of(asked: Asked) -> None:
    status = {name: asked.scores.get(name, {"status": "excluded"})["status"] for name in ODD}
    assert status == {
        "999001": "excluded",
        "999002": "excluded",
        "999003": "scored",
        "999004": "held",
        "999005": "scored",
        "999006": "excluded",
    }
    assert asked.excluded.items() >= {name: ["nothing measured"] for name in ("999001", "999002", "999006")}.items()
    assert f"excluded, and not in the list: {len(asked.excluded)} nothing measured" in asked.beside


def test_who_hands_in_stays_has_a_row_or_a_reason_for_each(asked: Asked) -> None:
    handed_in = {*asked.held_out, *ODD}
    assert handed_in <= asked.scores.keys() | asked.excluded.keys()
    assert not asked.scores.keys() & asked.excluded.keys()
    assert asked.run["excluded"] == len(asked.excluded)


def died_of(asked: Asked, names: tuple[str, ...]) -> Any:
    return np.array([int(asked.known[name]["In-hospital_death"]) for name in names])


def saps_of(asked: Asked, names: tuple[str, ...]) -> Any:
    return np.array([float(asked.known[name]["SAPS-I"]) for name in names])
