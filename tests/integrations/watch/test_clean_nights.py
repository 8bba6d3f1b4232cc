"""What the watch says of nights in which nothing is wrong, and of a ward that loses a fifth of its results."""

import random
from collections.abc import Sequence

import pytest

from integrations.contract import load_contract
from integrations.synthetic_hospital.calendar import extract_taken_at
from integrations.synthetic_hospital.hospital import Hospital
from integrations.watch import judge as judging
from integrations.watch.extent import Extent
from integrations.watch.past import open_past
from tests.integrations.watch.conftest import OpenFeed
from tests.integrations.watch.nights import Nights

LEARNT = 35  # five weeks: four of each weekday, and the week that is judged
CLEAN = range(LEARNT + 1, LEARNT + 31)
HOSPITAL = Hospital(patients=12_000, nights=100, scenario="none", seed=21)
LARGE = Hospital(patients=24_000, nights=100, scenario="none", seed=22)
WARD = "4 West"  # 52 patients on a day of the large one
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
    chance = random.Random(1)
    found = {share: 0 for share in (0, 20)}
    patient_days = []
    for last in LAST:
        seed = chance.randrange(1 << 30)
        for share in found:
            rows = _lossy_week(nights, last, share, seed)
            found[share] += any(row["ward"] == WARD for row in rows)
            assert {row["ward"] for row in rows} <= {WARD}
            patient_days += [row["patient_days"] for row in rows if row["span"] == "the last week"]
    assert found == {0: 0, 20: TRIALS}
    assert sum(patient_days) / len(patient_days) / WEEK == pytest.approx(52, abs=5)  # patients, as the decision says


def _lossy_week(nights: Nights, last: int, share: int, seed: int) -> Sequence[judging.Row]:
    """What is judged of the wards after a week in which the samples of one ward were lost with this chance in 100."""
    connection = nights.connection
    figures = []
    for night in range(last - WEEK + 1 if share else last, last + 1):
        extent = nights.measured(
            night,
            lambda lake: lake.execute(
                """
                delete from judged
                where encounter_id in (select encounter_id from every_encounter_location where ward = $ward)
                and hash(encounter_id || effective_at::varchar || $seed::varchar) % 100 < $share
                """,
                {"ward": WARD, "seed": seed, "share": share},
            ),
            is_all=False,
        )
        figures.append((extent, connection.sql("from watch_figure where kind = 'volume'").to_arrow_table()))
    whole = Extent(
        contract=load_contract("demo_lis"),
        extract_id=extent.extract_id,
        received_at=extract_taken_at(last),
        is_history=False,
        before_at=extent.before_at,
    )
    with nights.records.read() as db:
        open_past(connection, db, whole)
    for extent, rows in figures[:-1]:
        connection.execute(
            "delete from past_figure where kind = 'volume' and extract_id = $id", {"id": extent.extract_id}
        )
        connection.register("lossy", rows)
        connection.execute(
            "insert into past_figure by name select *, $id as extract_id, 'usual' as era from lossy",
            {"id": extent.extract_id},
        )
        connection.unregister("lossy")
    return judging.ask(connection, "judge_volume", whole)
