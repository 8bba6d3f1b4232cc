"""What can make a row due anew at all, seen from what was committed since: so that a live night looks no further."""

from datetime import datetime

import pytest
from sqlalchemy import insert

from flows.anew import AnewIn
from integrations.records import schema as s
from tests.flows.ward import HOUR, NIGHT, Ward, round_at

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
