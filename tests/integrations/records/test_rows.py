"""Many rows go in quickly, once, and as they were."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError

from integrations.records import Every, Records, insert_new, insert_rows
from integrations.records.schema import outbox, run, score, snapshot

NIGHT = datetime(2024, 7, 1, 6, tzinfo=UTC)


@pytest.fixture
def begun(records: Records) -> Records:
    """Records in which a scoring run has begun."""
    row = {"run_id": "r1", "kind": "score", "as_of": NIGHT, "started_at": NIGHT, "status": "running"}
    with records.begin() as connection:
        connection.execute(insert(run).values(row))
        connection.execute(insert(snapshot).values(snapshot_id=1, created_at=NIGHT, versions={}))
    return records


def scores(probabilities: list[float | None], **other: Any) -> dict[str, Any]:
    count = len(probabilities)
    return {
        "score_id": [f"s{n}" for n in range(count)],
        "run_id": Every("r1"),
        "site_id": Every("demo"),
        "use_case": Every("aki_48h"),
        "patient_id": [f"demo_ehr/p{n}" for n in range(count)],
        "encounter_id": [f"demo_ehr/e{n}" for n in range(count)],
        "source_encounter_id": [f"e{n}" for n in range(count)],
        "prediction_time": [NIGHT + timedelta(hours=6 * n) for n in range(count)],
        "version": Every(1),
        "purpose": Every("live"),
        "stage": Every("live"),
        "status": ["held" if value is None else "scored" for value in probabilities],
        "probability": probabilities,
        "reasons": [[] if value is not None else ["creatinine is held"] for value in probabilities],
        "manifest_hash": Every("m"),
        "view_versions": Every({"recent_labs": "abc"}),
        "snapshot_id": Every(1),
        "scored_at": Every(NIGHT),
        **other,
    }


def test_rows_given_by_column_are_read_back_as_they_were(begun: Records) -> None:
    with begun.begin() as connection:
        written = insert_rows(connection, score, scores([0.25, None]))
        found = connection.execute(
            select(score.c.prediction_time, score.c.probability, score.c.reasons, score.c.view_versions, score.c.band)
        ).all()
    assert written == 2
    assert found == [
        (NIGHT, 0.25, [], {"recent_labs": "abc"}, None),
        (NIGHT + timedelta(hours=6), None, ["creatinine is held"], {"recent_labs": "abc"}, None),
    ]


def test_a_numpy_column_is_taken_as_plain_numbers(begun: Records) -> None:
    columns = scores([0.1, 0.9], probability=np.array([0.1, 0.9]), is_at_or_above_threshold=np.array([0, 1]))
    with begun.begin() as connection:
        insert_rows(connection, score, columns)
        found = connection.execute(select(score.c.is_at_or_above_threshold).order_by(score.c.score_id)).scalars().all()
    assert found == [0, 1]


def test_rows_that_are_there_already_are_skipped_and_not_counted(begun: Records) -> None:
    with begun.begin() as connection:
        insert_rows(connection, score, scores([0.25, 0.5]))
        again = insert_rows(connection, score, scores([0.75, 0.75, 0.75]), skip_existing=True)
        found = connection.execute(select(score.c.probability).order_by(score.c.score_id)).scalars().all()
    assert (again, found) == (1, [0.25, 0.5, 0.75])


def test_a_rule_of_the_table_holds_when_existing_rows_are_skipped(begun: Records) -> None:
    with pytest.raises(DBAPIError, match="score_probability"), begun.begin() as connection:
        insert_rows(connection, score, scores([1.5]), skip_existing=True)


def test_only_a_live_score_may_wait_for_write_back(begun: Records) -> None:
    row = {"score_id": "s0", "purpose": "silent", "identifier": "u", "status": "queued", "attempts": 0}
    with begun.begin() as connection:
        insert_rows(connection, score, scores([0.5], purpose=Every("silent")))
    with pytest.raises(DBAPIError, match="only_live_is_written_back"), begun.begin() as connection:
        insert_new(connection, outbox, [{**row, "queued_at": NIGHT}])


def test_rows_by_name_may_leave_out_what_is_null(records: Records) -> None:
    base = {"kind": "score", "as_of": NIGHT, "started_at": NIGHT, "status": "running"}
    with records.begin() as connection:
        first = insert_new(connection, run, [{**base, "run_id": "a"}, {**base, "run_id": "b", "use_case": "aki_48h"}])
        again = insert_new(connection, run, [{**base, "run_id": "b"}])
        found = connection.execute(select(run.c.run_id, run.c.use_case).order_by(run.c.run_id)).all()
    assert (first, again, found) == (2, 0, [("a", None), ("b", "aki_48h")])


def test_no_rows_are_no_work(records: Records) -> None:
    with records.read() as connection:  # a write would be refused here
        assert insert_new(connection, run, []) == 0
        assert insert_rows(connection, run, {"run_id": [], "kind": Every("score")}) == 0


def test_columns_of_different_length_are_refused(records: Records) -> None:
    with pytest.raises(ValueError, match="differ in length"), records.begin() as connection:
        insert_rows(connection, run, {"run_id": ["a", "b"], "kind": ["score"]})
