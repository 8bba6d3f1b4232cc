"""Who is due, night after night: each row is accounted for once, and nobody is passed over."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, select

from flows.commands.rounding import _show_run
from flows.due import due_rows
from flows.score import ScoringRun, batches
from flows.standing import Anew
from integrations.records import schema as s
from models.release import RELEASED_TOO_LATE
from models.rows import row_keys
from models.score_records import RunAccount
from models.superseded import StandingScore
from tests.flows.ward import CASE, DAY, HOUR, NIGHT, Ward, round_at, with_ones


def test_an_excluded_discharge_is_counted_on_the_first_night_and_on_no_other(ward: Ward) -> None:
    ward.discharge("p1", NIGHT - 3 * HOUR)
    ward.discharge("p2", NIGHT - 3 * HOUR, discharge_disposition="died")
    assert ward.score(NIGHT) == RunAccount(scored=1, excluded=1, reasons={"died": 1})
    assert ward.score(NIGHT) == RunAccount()
    assert ward.score(NIGHT + DAY) == RunAccount()
    assert ward.score(NIGHT + 2 * DAY) == RunAccount()


def test_an_excluded_discharge_that_came_in_late_is_counted_once_as_well(ward: Ward) -> None:
    ward.discharge("p1", NIGHT - 3 * HOUR)
    ward.score(NIGHT)
    ward.discharge("p2", NIGHT - 4 * HOUR, discharge_disposition="hospice")  # its extract was still on its way
    assert ward.score(NIGHT + DAY) == RunAccount(excluded=1, reasons={"to_hospice": 1})
    assert ward.score(NIGHT + 2 * DAY) == RunAccount()


def test_a_hold_that_ends_too_late_for_its_time_scores_nobody_and_the_round_says_so(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        ward.discharge(name, NIGHT - 3 * HOUR)
        ward.quarantine(name, "718-7", NIGHT - 6 * HOUR)
    ward.score(NIGHT)
    released = {"a": NIGHT + DAY, "b": NIGHT + 4 * DAY}  # max_age is 72 h
    with ward.house.records.begin() as connection:
        connection.execute(s.score.update().values(status="held", probability=None))
        for name, at in released.items():
            mine = s.quarantine.c.patient_id == f"ehr/{name}"
            connection.execute(s.quarantine.update().where(mine).values(released_at=at, released_by="retry"))
    this = replace(round_at(NIGHT + 5 * DAY), all_due=True)
    rows = due_rows(ward.house, ward.lake(), this)
    found = [(row["encounter_id"], row["prediction_time"]) for row in rows.backfill.to_pylist()]
    assert found == [("ehr/a", NIGHT + DAY)]
    assert rows.left == {RELEASED_TOO_LATE: 1}
    _show_run(CASE.name, ScoringRun(purpose="silent", version=1, left=rows.left), as_json=False, is_plan=False)
    assert f"1 scores stay as they are, {RELEASED_TOO_LATE}" in capsys.readouterr().out


def test_who_is_due_is_asked_in_sqlite_of_the_stays_and_the_held_scores_and_not_of_all_scores(ward: Ward) -> None:
    asked: list[tuple[str, Any]] = []
    ward.discharge("p1", NIGHT - 3 * HOUR)
    engine = ward.house.records.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, sql, given, *_: asked.append((sql, given)))
    due_rows(ward.house, ward.lake(), round_at(NIGHT))
    with ward.house.records.read() as connection:
        plans = [
            [
                row.detail
                for row in connection.exec_driver_sql(f"explain query plan {sql}", given)
                if "score" in row.detail
            ]
            for sql, given in list(asked)
            if "FROM score" in sql
        ]
    assert sorted(plan[0] for plan in plans) == [
        "SEARCH score USING INDEX score_by_stay (use_case=? AND encounter_id=?)",
        "SEARCH score USING INDEX score_held (use_case=?)",
    ]


def test_a_row_whose_inputs_changed_is_due_anew_though_it_is_older_than_the_first_round(ward: Ward) -> None:
    ward.discharge("a", NIGHT - 5 * DAY)
    ward.discharge("died", NIGHT - 5 * DAY, discharge_disposition="died")
    ward.score(NIGHT, all_due=True)
    this = round_at(NIGHT)
    assert due_rows(ward.house, ward.lake(), this).count == 0
    of_before = StandingScore(score_id="of before", run_id="r1", snapshot_id=1, purpose="backfill", status="scored")
    rows = due_rows(
        ward.house,
        ward.lake(),
        this,
        lambda rows, standing: Anew(scores={key: (of_before,) for key in row_keys(rows)}),
    )
    found = {(row["encounter_id"], row["excluded_reason"]) for row in rows.backfill.to_pylist()}
    assert found == {("ehr/a", None), ("ehr/died", "died")}
    assert rows.spine["encounter_id"].to_pylist() == ["ehr/a"]
    assert [batch.is_excluded for batch in batches(this, rows, with_ones(rows.spine))] == [False, True]


def test_a_silent_look_at_the_past_before_going_live_takes_nobody_from_the_first_round(ward: Ward) -> None:
    ward.discharge("p1", NIGHT - 3 * HOUR)
    ward.discharge("p2", NIGHT - 9 * DAY)
    ward.discharge("p3", NIGHT - 3 * HOUR, discharge_disposition="died")
    assert ward.score(NIGHT, is_champion=False, all_due=True).scored == 2
    assert ward.score(NIGHT, is_champion=False, all_due=True).scored == 0
    assert ward.score(NIGHT + HOUR) == RunAccount(scored=1, excluded=1, reasons={"died": 1})
    assert ward.score(NIGHT + DAY) == RunAccount()
    assert [purpose for name, purpose in ward.purposes() if name == "ehr/p1"] == ["backfill", "silent"]
    assert [purpose for name, purpose in ward.purposes() if name == "ehr/p2"] == ["backfill"]


def test_a_backfill_is_no_round_and_makes_the_next_one_forget_nobody(ward: Ward) -> None:
    ward.discharge("p1", NIGHT - 3 * HOUR)
    ward.score(NIGHT)
    ward.discharge("p2", NIGHT + 10 * DAY)  # and no round is made for weeks
    assert ward.score(NIGHT + 35 * DAY, window=(NIGHT - 30 * DAY, NIGHT - 20 * DAY)) == RunAccount()
    assert ward.score(NIGHT + 40 * DAY) == RunAccount(scored=1)
    with ward.house.records.read() as connection:
        purposes = connection.execute(select(s.run.c.purpose).order_by(s.run.c.as_of)).scalars().all()
    assert purposes == ["silent", "backfill", "backfill"]


def test_a_window_is_scored_as_it_was_known_then_whatever_has_lapsed_since(ward: Ward) -> None:
    ward.discharge("p1", NIGHT - 3 * HOUR)
    ward.discharge("p1", NIGHT - 3 * HOUR, available_at=NIGHT - HOUR, is_retracted=True)  # entered in error
    assert ward.score(NIGHT) == RunAccount(excluded=1, reasons={"withdrawn": 1})
    assert ward.score(NIGHT, version=2, is_champion=False, window=(NIGHT - DAY, NIGHT)) == RunAccount(scored=1)


def test_a_stay_entered_in_error_between_discharge_and_round_is_not_scored_and_counted(ward: Ward) -> None:
    ward.discharge("p1", NIGHT - 9 * HOUR)
    ward.discharge("p2", NIGHT - 9 * HOUR)
    ward.discharge("p2", NIGHT - 9 * HOUR, available_at=NIGHT - HOUR, is_retracted=True)
    assert ward.score(NIGHT) == RunAccount(scored=1, excluded=1, reasons={"withdrawn": 1})
    assert ward.score(NIGHT + DAY) == RunAccount()


def test_the_horizon_of_a_late_known_discharge_starts_at_the_discharge(ward: Ward) -> None:
    ward.discharge("p1", NIGHT - 3 * HOUR)
    ward.score(NIGHT)
    with ward.house.records.read() as connection:
        assert connection.execute(select(s.score.c.horizon_starts_at)).scalars().all() == [NIGHT - 5 * HOUR]
