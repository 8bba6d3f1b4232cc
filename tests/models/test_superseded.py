"""Two rounds find the same score to give way: one of them supersedes it, the other looks once more."""

from datetime import UTC, datetime
from threading import Thread

from sqlalchemy import insert, select

from integrations.records import Records
from integrations.records import schema as s
from models.superseded import StandingScore, are_as_found, supersede

NIGHT = datetime(2024, 7, 1, 6, 30, tzinfo=UTC)
FOUND = StandingScore(score_id="score-1", run_id="run-0", snapshot_id=1, purpose="silent", status="excluded")
SCORE = {
    "score_id": FOUND.score_id,
    "site_id": "demo",
    "use_case": "aki_48h",
    "patient_id": "ehr/p",
    "encounter_id": "ehr/e",
    "source_encounter_id": "e",
    "prediction_time": NIGHT,
    "version": 1,
    "purpose": FOUND.purpose,
    "stage": "silent",
    "status": FOUND.status,
    "reasons": ["died"],
    "manifest_hash": "a",
    "view_versions": {},
    "scored_at": NIGHT,
}


def test_of_two_rounds_that_find_one_score_the_second_waits_and_then_finds_it_gone(records: Records) -> None:
    with records.begin() as connection:
        connection.execute(insert(s.snapshot), [{"created_at": NIGHT, "versions": {}}] * 2)
        runs = [{"run_id": f"run-{number}", "kind": "score", "status": "running"} for number in range(3)]
        connection.execute(insert(s.run), [{**each, "as_of": NIGHT, "started_at": NIGHT} for each in runs])
        connection.execute(insert(s.score).values({**SCORE, "run_id": "run-0", "snapshot_id": 1}))
    answers = []

    def second() -> None:
        with records.begin() as other:
            answers.append(are_as_found(other, [FOUND], snapshot_id=2))

    thread = Thread(target=second)
    with records.begin() as connection:
        assert are_as_found(connection, [FOUND], snapshot_id=2)
        thread.start()
        thread.join(0.5)
        assert (thread.is_alive(), answers) == (True, [])
        assert supersede(connection, [FOUND.score_id], run_id="run-1", at=NIGHT) == 1
        connection.execute(insert(s.score).values({**SCORE, "run_id": "run-1", "snapshot_id": 2}))
    thread.join(30)
    assert answers == [False]
    with records.read() as connection:
        assert connection.execute(select(s.score.c.run_id)).scalars().all() == ["run-1"]
        assert connection.execute(select(s.superseded_score.c.run_id)).scalars().all() == ["run-0"]
