"""What can make a row due anew at all, seen from what was committed since: so that a live night looks no further."""

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import insert, select

from flows.anew import OF_ANOTHER, AnewIn
from flows.due import Before, due_rows
from flows.house import Snapshot
from integrations.records import schema as s
from models.superseded import supersede
from tests.flows.ward import CASE, HOUR, NIGHT, Ward, round_at

NEWEST = NIGHT  # the latest prediction time that has a score, by snapshot 1


@pytest.mark.parametrize(
    ("what", "is_history", "received_at", "may_matter"),
    [
        ("a live extract", 0, NIGHT + HOUR, False),
        ("a live extract that was received before the score was due", 0, NIGHT - HOUR, True),
        ("an extract of history", 1, NIGHT + HOUR, True),
        ("a retry, which is no extract", None, NIGHT + HOUR, True),
    ],
)
def test_only_what_can_count_for_a_scored_row_is_looked_into(
    ward: Ward, what: str, is_history: int | None, received_at: datetime, may_matter: bool
) -> None:
    with ward.house.records.begin() as connection:
        connection.execute(insert(s.snapshot).values(snapshot_id=2, created_at=received_at, versions={}))
        if is_history is not None:
            extract = {"extract_id": "y", "source": "ehr", "site_id": "demo", "received_at": received_at, "digest": "y"}
            values = {**extract, "is_history": is_history, "status": "committed", "snapshot_id": 2}
            connection.execute(insert(s.extract).values(values))
    finder = AnewIn(house=ward.house, lake=ward.lake(), this=round_at(NIGHT), part=None, run_id="r")
    assert finder._may_matter(1, NEWEST) == may_matter, what
    assert not finder._may_matter(2, NEWEST), "nothing came since"


@pytest.mark.parametrize(("outbox_status", "left"), [(None, {}), ("acknowledged", {OF_ANOTHER: 1})])
def test_a_stay_that_turned_out_to_be_another_patients_is_scored_anew_whatever_its_features(
    ward: Ward, outbox_status: str | None, left: dict[str, int]
) -> None:
    for name in ("a", "bystander"):
        ward.discharge(name, NIGHT - 3 * HOUR)
    ward.score(NIGHT)
    with ward.house.records.begin() as connection:
        connection.execute(insert(s.snapshot).values(snapshot_id=2, created_at=NIGHT, versions={}))
        was = s.score.update().where(s.score.c.encounter_id == "ehr/a").values(patient_id="ehr/former")
        connection.execute(was)
        if outbox_status:
            mine = connection.execute(select(s.score.c.score_id).where(s.score.c.encounter_id == "ehr/a")).scalar_one()
            connection.execute(s.score.update().where(s.score.c.score_id == mine).values(purpose="live"))
            given = {"score_id": mine, "purpose": "live", "identifier": "a", "attempts": 1, "queued_at": NIGHT}
            connection.execute(insert(s.outbox).values(**given, status=outbox_status))
    this = replace(round_at(NIGHT + HOUR), snapshot=Snapshot(snapshot_id=2, versions={}))
    finder = AnewIn(house=ward.house, lake=ward.lake(), this=this, part=None, run_id="r")
    rows = due_rows(ward.house, ward.lake(), this, finder)
    assert rows.live["encounter_id"].to_pylist() == ([] if outbox_status else ["ehr/a"])
    assert rows.left == left
    slow = replace(this, snapshot=Snapshot(snapshot_id=0, versions={}))
    finder = replace(finder, this=slow)
    assert due_rows(ward.house, ward.lake(), slow, finder).count == 0, "the score knew more than this round"


def test_the_first_round_stays_the_first_though_its_scores_gave_way(ward: Ward) -> None:
    ward.discharge("a", NIGHT - 3 * HOUR)
    ward.score(NIGHT)
    with ward.house.records.begin() as connection:
        before = Before.of(connection, CASE.name)
        ids = connection.execute(select(s.score.c.score_id)).scalars().all()
        supersede(connection, ids, run_id="r1", at=NIGHT)
        assert before.first_time is not None
        assert Before.of(connection, CASE.name) == before
