"""Which rounds were made, by the hospital's clock, and which are late or missing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from flows.house import House
from flows.nights import missing_rounds, scheduled_rounds
from integrations.records import Records
from integrations.records import schema as s
from integrations.settings import Settings

# In July midnight of Chicago is 05:00 UTC.
MIDNIGHT = datetime(2024, 7, 5, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def missing(house: House, use_case: str, hours: list[float], now: float, **changes: str) -> list[tuple[object, ...]]:
    """The spans that are shown at `now`, when rounds were made at these hours after midnight."""
    values = {"kind": "score", "use_case": use_case, "status": "done", "purpose": "live"} | changes
    with house.records.begin() as connection:
        for hour in hours:
            at = MIDNIGHT + hour * HOUR
            connection.execute(insert(s.run).values(**values, run_id=f"{use_case}{hour}", as_of=at, started_at=at))
    return [tuple(span.values())[1:] for span in missing_rounds(house, MIDNIGHT + now * HOUR)]


@pytest.fixture
def house(home: Path, sqlite_records: Records) -> House:
    return House(Settings(home=home))


def test_three_of_four_missing_rounds_of_a_day_are_shown_in_spans(house: House) -> None:
    assert missing(house, "aki_48h", [0.75, 24.75, 48.75], now=49) == [
        ("2024-07-05 06:00", "2024-07-05 18:00", 3, "missing"),
        ("2024-07-06 06:00", "2024-07-06 18:00", 3, "missing"),
    ]


def test_a_round_a_day_is_not_missed_by_a_use_case_that_has_one(house: House) -> None:
    assert missing(house, "readmission_30d", [0.75, 24.75, 48.75], now=49) == []


def test_what_is_made_before_the_next_round_belongs_to_the_one_before(house: House) -> None:
    assert missing(house, "aki_48h", [0, 11.99, 12, 18.75], now=24.99) == []


def test_the_newest_round_is_late_after_its_grace_until_the_next_one(house: House) -> None:
    made = [0.75, 6.75]
    assert missing(house, "aki_48h", made, now=12.99) == []
    assert missing(house, "aki_48h", [], now=13) == [("2024-07-05 12:00", "2024-07-05 12:00", 1, "late")]
    assert missing(house, "aki_48h", [], now=19) == [("2024-07-05 12:00", "2024-07-05 18:00", 2, "missing")]


@pytest.mark.parametrize("changes", [{"purpose": "backfill"}, {"purpose": "shadow"}, {"status": "failed"}])
def test_a_look_at_the_past_and_a_run_that_failed_are_no_round(house: House, changes: dict[str, str]) -> None:
    missing(house, "aki_48h", [6.75], now=0, **changes)
    assert missing(house, "aki_48h", [0.75, 12.75], now=13) == [("2024-07-05 06:00", "2024-07-05 06:00", 1, "missing")]


def test_before_its_first_round_a_use_case_has_missed_none(house: House) -> None:
    assert missing(house, "aki_48h", [], now=99) == []


def test_rounds_follow_the_wall_clock_when_it_changes() -> None:
    first = datetime(2024, 11, 2, 23, tzinfo=UTC)  # 18 h in Chicago, the evening before the clock goes back
    told = [f"{at:%d %H}" for at in scheduled_rounds("aki_48h", first, first + 26 * HOUR)]
    assert told == ["02 23", "03 05", "03 12", "03 18", "04 00"]
