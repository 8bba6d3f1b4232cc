"""What the watch says of nights in which nothing is wrong, and of a ward that loses a fifth of its results."""

from collections.abc import Mapping

import pyarrow as pa
import pytest

from integrations.synthetic_hospital.hospital import Hospital
from integrations.watch import judge as judging
from integrations.watch.past import open_past
from tests.integrations.watch.conftest import OpenFeed
from tests.integrations.watch.nights import Nights, Spoil

LEARNT = 35  # five weeks: four of each weekday, and the week that is judged
CLEAN = range(LEARNT + 1, LEARNT + 31)
HOSPITAL = Hospital(patients=12_000, nights=100, scenario="none", seed=21)
LARGE = Hospital(patients=38_000, nights=100, scenario="none", seed=22)
WARD = "4 West"  # 82 patients on a day of the large one
TRIALS, WEEK = 50, 7
LAST = range(LEARNT + WEEK, LEARNT + WEEK + TRIALS)


def test_30_clean_nights_of_two_feeds_raise_at_most_one_finding(feed: OpenFeed) -> None:
    found = []
    for source in ("demo_ehr", "demo_lis"):
        nights = feed(source, HOSPITAL)
        nights.learn(range(1, LEARNT + 1))
        found += nights.play(CLEAN)
    assert len(found) <= 1, [each.sentence for each in found]


def test_the_first_clean_nights_of_a_feed_raise_nothing(feed: OpenFeed) -> None:
    for source in ("demo_ehr", "demo_lis"):
        assert feed(source, Hospital(patients=3000, nights=20, scenario="none", seed=5)).play(range(1, 13)) == []


def test_a_ward_that_loses_a_fifth_of_its_results_is_found_in_50_of_50_weeks_and_none_without_a_loss(
    feed: OpenFeed,
) -> None:
    nights = feed("demo_lis", LARGE)
    nights.learn(range(1, LAST[-1] + 1), is_all=False)
    lossy = {night: _lossy(nights, night) for night in range(LAST[0] - WEEK + 1, LAST[-1] + 1)}
    found = {"no loss": 0, "a fifth lost": 0}
    patients = []
    for last in LAST:
        found["no loss"] += bool(_judged(nights, {last: _measured(nights, last)}))
        rows = _judged(nights, {night: lossy[night] for night in range(last - WEEK + 1, last + 1)})
        assert {row["ward"] for row in rows} <= {WARD}
        found["a fifth lost"] += bool(rows)
        patients += [row["patient_days"] / WEEK for row in rows if row["span"] == "the last week"]
    assert found == {"no loss": 0, "a fifth lost": TRIALS}
    assert sum(patients) / len(patients) == pytest.approx(82, abs=8)  # as the decision says


def _lossy(nights: Nights, night: int) -> pa.Table:
    """The figures of the wards in a night in which each sample of one ward was lost with a chance of a fifth."""
    return _measured(
        nights,
        night,
        lambda lake: lake.execute(
            """
            delete from judged
            where encounter_id in (select encounter_id from every_encounter_location where ward = $ward)
            and hash(encounter_id || effective_at::varchar) % 100 < 20
            """,
            {"ward": WARD},
        ),
    )


def _measured(nights: Nights, night: int, spoil: Spoil | None = None) -> pa.Table:
    nights.measured(night, spoil, is_all=False)
    return nights.connection.sql("from watch_figure where kind = 'volume'").to_arrow_table()


def _judged(nights: Nights, figures: Mapping[int, pa.Table]) -> judging.Rows:
    """What is judged of the wards in the last of these nights, where these figures stand for those kept."""
    connection, last = nights.connection, max(figures)
    extent = nights.extent(last)
    with nights.records.read() as db:
        open_past(connection, db, extent)
    for night, rows in figures.items():
        connection.register("measured", rows)
        if night == last:
            connection.execute("create or replace temp table watch_figure as from measured")
        else:
            own = {"id": nights.extent(night).extract_id}
            connection.execute("delete from past_figure where kind = 'volume' and extract_id = $id", own)
            connection.execute(
                "insert into past_figure by name select *, $id as extract_id, 'usual' as era from measured", own
            )
        connection.unregister("measured")
    return judging.ask(connection, "judge_volume", extent)
