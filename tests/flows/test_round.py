"""Night after night: who was scored, who was held, what went back to the EHR."""

import json
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.flows.conftest import MISSED_NIGHT, USE_CASE, PlayedHospital

pytestmark = pytest.mark.xdist_group("played hospital")


def runs_of(played: PlayedHospital) -> list[dict[str, Any]]:
    return [run for run in played.rounds.done("runs", "--json").json["runs"] if run["use_case"] == USE_CASE]


def test_everybody_who_was_due_is_accounted_for(played: PlayedHospital) -> None:
    runs = runs_of(played)
    assert len(runs) == len(played.files.nights) - 1
    for run in runs:
        assert run["due"] == run["scored"] + run["held"] + run["excluded"] > 0
        assert sum(run["reasons"].values()) >= run["held"] + run["excluded"]


def test_every_row_that_was_due_rests_in_records_under_the_run_that_first_saw_it(played: PlayedHospital) -> None:
    engine = create_engine(f"sqlite:///{played.rounds.home / 'records.db'}")
    with engine.connect() as connection:
        kept = connection.execute(text("select run_id, status, count(*) from score group by run_id, status")).all()
    rows = {(run_id, status): count for run_id, status, count in kept}
    runs = runs_of(played)
    for run in runs:
        assert [rows.get((run["run_id"], status), 0) for status in ("scored", "held", "excluded")] == [
            run["scored"],
            run["held"],
            run["excluded"],
        ]
    assert sum(run["excluded"] for run in runs) > 0


def test_the_worklist_names_nobody_for_whom_no_prediction_is_made(played: PlayedHospital) -> None:
    scores = played.rounds.done("scores", USE_CASE, "--json").json["scores"]
    assert {row["status"] for row in scores} == {"scored", "held"}


def test_rounds_that_the_schedule_knows_and_nobody_made_are_reported_missing(played: PlayedHospital) -> None:
    last = played.files.nights[-1].round_at.isoformat()
    missing = played.rounds.done("runs", "--json", "--as-of", last).json["missing"]
    assert [(gap["from_round"], gap["to_round"], gap["round_count"], gap["state"]) for gap in missing] == [
        ("2024-07-02 06:00", "2024-07-02 18:00", 3, "missing"),
        (f"2024-07-{MISSED_NIGHT:02d} 06:00", f"2024-07-{MISSED_NIGHT + 1:02d} 18:00", 7, "missing"),
        ("2024-07-05 06:00", "2024-07-05 18:00", 3, "missing"),
        ("2024-07-06 06:00", "2024-07-06 18:00", 3, "missing"),
    ]


def test_a_missed_night_is_caught_up_silently(played: PlayedHospital) -> None:
    missed = played.files.nights[MISSED_NIGHT - 1].round_at
    scores = played.rounds.done("scores", USE_CASE, "--json").json["scores"]
    of_that_day = {row["purpose"] for row in scores if row["prediction_time"][:10] == f"{missed:%Y-%m-%d}"}
    assert of_that_day == {"backfill"}


def test_scoring_the_same_time_again_adds_nothing(played: PlayedHospital) -> None:
    at = played.files.nights[-1].round_at.isoformat()
    before = played.rounds.done("scores", USE_CASE, "--json").json
    again = played.rounds.done("score", USE_CASE, "--as-of", at, "--json").json
    assert again["new_scores"] == 0
    assert again["queued"] == 0
    assert played.rounds.done("scores", USE_CASE, "--json").json == before


def test_a_feed_that_is_live_supersedes_no_score_however_late_or_corrected_its_results_are(
    played: PlayedHospital,
) -> None:
    engine = create_engine(f"sqlite:///{played.rounds.home / 'records.db'}")
    with engine.connect() as connection:
        corrected = "select count(*) from snapshot where snapshot_id > (select min(snapshot_id) from score)"
        assert connection.execute(text(corrected)).scalar_one() > 0
        assert connection.execute(text("select count(*) from superseded_score")).scalar_one() == 0


def test_only_live_scores_go_back_and_each_once(played: PlayedHospital) -> None:
    scores = played.rounds.done("scores", USE_CASE, "--json").json["scores"]
    live = [row for row in scores if row["purpose"] == "live" and row["status"] == "scored"]
    outbox = played.rounds.done("outbox", "--json").json
    assert outbox == {"queued": 0, "sent": 0, "acknowledged": len(live), "failed": 0, "dead": 0}
    bundles = [json.loads(path.read_text()) for path in (played.rounds.home / "write_back").glob("*.json")]
    sent = [entry["resource"] for bundle in bundles for entry in bundle["entry"]]
    assert len(sent) == len(live)
    assert len({resource["identifier"][0]["value"] for resource in sent}) == len(live)
    played.rounds.done("write-back", "--as-of", played.files.nights[-1].round_at.isoformat())
    assert len(list((played.rounds.home / "write_back").glob("*.json"))) == len(bundles)


def test_what_is_sent_names_no_patient_number_in_identifier_or_file(played: PlayedHospital) -> None:
    engine = create_engine(f"sqlite:///{played.rounds.home / 'records.db'}")
    with engine.connect() as connection:
        patients = set(connection.execute(text("select distinct patient_id from score")).scalars())
        identifiers = list(connection.execute(text("select identifier from outbox")).scalars())
    numbers = {patient.partition("/")[2] for patient in patients}
    names = [path.name for path in (played.rounds.home / "write_back").glob("*.json")]
    assert identifiers
    assert not [one for one in [*identifiers, *names] if any(number in one for number in numbers)]


def test_a_plan_says_what_the_run_then_does(played: PlayedHospital) -> None:
    plan, deed = played.plans["score"], played.deeds["score 1"]
    figures = ("due", "scored", "held", "excluded", "new_scores", "queued", "reasons")
    assert {name: plan[name] for name in figures} == {name: deed[name] for name in figures}
    assert plan["new_scores"] > 0
    for door in ("ingest", "laboratory"):
        assert played.plans[door]["accounts"] == played.deeds[f"{door} 1"]["accounts"]
    assert played.plans["write_back"]["resources"] == played.deeds["write_back 1"]["acknowledged"] > 0


def test_a_unit_fault_is_caught_at_the_door_and_holds_the_scores(played: PlayedHospital) -> None:
    quiet, fault = played.deeds["laboratory 4"], played.deeds["laboratory 5"]
    assert quiet["quarantined"] == {}
    assert sum(fault["quarantined"].values()) > 0
    assert set(fault["quarantined"]) <= {"impossible_value", "suspect_batch"}
    held = Counter[str]()
    for run in runs_of(played):
        held[run["as_of"][:10]] += run["held"]
    assert held["2024-07-05"] == 0
    assert held["2024-07-06"] > 0
    assert held["2024-07-07"] > 0
    reasons = {row["reasons"] and row["reasons"][0] for row in _held(played)}
    assert all(reason.startswith("recent_labs: ") for reason in reasons)


def test_a_held_score_has_no_probability_and_is_not_sent(played: PlayedHospital) -> None:
    held = _held(played)
    assert held
    assert {(row["probability"], row["band"], row["is_at_or_above_threshold"]) for row in held} == {(None, None, None)}
    engine = create_engine(f"sqlite:///{played.rounds.home / 'records.db'}")
    with engine.connect() as connection:
        sent = set(connection.execute(text("select score_id from outbox")).scalars())
    assert not sent & {row["score_id"] for row in held}


def test_what_goes_back_and_what_asks_for_action_is_explained(played: PlayedHospital) -> None:
    engine = create_engine(f"sqlite:///{played.rounds.home / 'records.db'}")
    with engine.connect() as connection:
        rows = connection.execute(
            text("select purpose, is_at_or_above_threshold as acts, explanation from score where status = 'scored'")
        ).all()
    assert {bool(row.explanation) for row in rows if row.purpose == "live" or row.acts} == {True}
    assert {bool(row.explanation) for row in rows if row.purpose != "live" and not row.acts} == {False}
    first = next(json.loads(row.explanation) for row in rows if row.explanation)
    assert [set(part) for part in first] == [{"feature", "value", "contribution"}] * 3


def _held(played: PlayedHospital) -> list[dict[str, Any]]:
    scores = played.rounds.done("scores", USE_CASE, "--json").json["scores"]
    return [row for row in scores if row["status"] == "held"]
