"""Days and nights by the hospital's clock, hours by UTC: on both nights on which the clock changes, in any zone."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest

from features.definitions import view
from features.parquet_files import view_rows
from flows.nights import round_at
from integrations.duck import connect
from integrations.ingest.instants import instant_sql, make_macros
from integrations.snapshot import Feed
from models.cases import SITE, open_facts
from models.catalog import use_case
from models.cohort import cohort, eligible, labels
from tests.integrations.hl7v2.conftest import contract

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CHICAGO = "America/Chicago"
# At 2 h, at 3 h, by half an hour, at midnight (which is left out, or repeated), and never.
ZONES = (
    CHICAGO,
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Havana",
    "Africa/Cairo",
    "Atlantic/Azores",
    "Asia/Tokyo",
)
Rows = dict[str, list[dict[str, object]]]


def changes(zone: str) -> list[date]:
    """The days of 2024 on which the clock of a zone changes; without any, two days on which others do."""
    days = [date(2024, 1, 1) + n * DAY for n in range(366)]
    found = [day for day in days if len(instants_of(day, zone)) != 24 * 4]
    return found or [date(2024, 3, 10), date(2024, 11, 3)]


def instants_of(day: date, zone: str) -> list[datetime]:
    """Every quarter of an hour of a day of the wall clock: 92 or 100 of them where it changes."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    quarters = [noon + n * HOUR / 4 for n in range(-4 * 30, 4 * 30)]
    return [at for at in quarters if at.astimezone(ZoneInfo(zone)).date() == day]


def fact(patient: str, known_at: datetime, **columns: object) -> dict[str, object]:
    head = {"source": patient.partition("/")[0], "site_id": SITE, "patient_id": patient, "available_at": known_at}
    head |= {"is_retracted": False, "extract_id": "x", "source_file": "f", "source_line": 1, "effective_at": known_at}
    return {**head, **columns}


def source_of(zone: str) -> str:
    return zone.lower().replace("/", "_")


@pytest.fixture
def lake_of(tmp_path: Path) -> Iterator[object]:
    """Open facts of feeds, one for each zone; a source is named by its zone."""
    opened: list[duckdb.DuckDBPyConnection] = []

    def open_lake(facts: Rows) -> duckdb.DuckDBPyConnection:
        feeds = [Feed(source=source_of(z), site_id=SITE, time_zone=z, lateness=DAY) for z in ZONES]
        opened.append(connect(tmp_path / "tmp", threads=1))
        open_facts(opened[-1], facts, feeds, tmp_path)
        return opened[-1]

    yield open_lake
    for connection in opened:
        connection.close()


def stay(patient: str, started_at: datetime, **columns: object) -> dict[str, object]:
    return fact(
        patient,
        started_at,
        **{"encounter_id": f"{patient}.e", "class": "inpatient", "started_at": started_at, **columns},
    )


def spine_of(rows: list[tuple[str, datetime]]) -> pa.Table:
    names, times = zip(*rows, strict=True)
    return pa.table(
        {
            "site_id": [SITE] * len(rows),
            "patient_id": list(names),
            "encounter_id": [f"{name}.e" for name in names],
            "prediction_time": pa.array(times, pa.timestamp("us", "UTC")),
        }
    )


def test_rounds_of_aki_are_at_the_hours_of_the_wall_clock_in_every_zone(lake_of) -> None:
    begin, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    facts: Rows = {"patient": [], "encounter": [], "observation": []}
    for zone in ZONES:
        patient = f"{source_of(zone)}/p"
        facts["patient"].append(fact(patient, begin))
        facts["encounter"].append(stay(patient, begin))
        for week in range(53):  # rounds go on for as long as there are creatinines
            result = {"code": "2160-0", "value_number": 1.0, "observation_id": f"{patient}.o{week}"}
            facts["observation"].append(fact(patient, begin + week * 7 * DAY, **result))
    rows = cohort(lake_of(facts), use_case("aki_48h"), end).to_pylist()
    for zone in ZONES:
        given = {row["prediction_time"] for row in rows if row["patient_id"] == f"{source_of(zone)}/p"}
        for day in [change + n * DAY for change in changes(zone) for n in (-1, 0, 1)]:
            expected = [wall_clock(day, hour, zone) for hour in (0, 6, 12, 18)]
            quarters = instants_of(day, zone)
            assert sorted(at for at in given if quarters[0] <= at <= quarters[-1]) == expected, (zone, day)
            assert [round_at(day, hour, ZoneInfo(zone)) for hour in (0, 6, 12, 18)] == expected, (zone, day)


def wall_clock(day: date, hour: int, zone: str) -> datetime:
    """When a clock on the wall shows the hour: the last time that it does, or once it is past it for the first time."""
    shown = [(at, at.astimezone(ZoneInfo(zone))) for at in instants_of(day, zone)]
    exactly = [at for at, wall in shown if (wall.hour, wall.minute) == (hour, 0)]
    return exactly[-1] if exactly else next(at for at, wall in shown if wall.hour >= hour)


def test_a_day_of_23_hours_and_one_of_25_have_four_rounds_each() -> None:
    zone = ZoneInfo(CHICAGO)
    spring, autumn = ([round_at(day, hour, zone) for hour in (0, 6, 12, 18)] for day in changes(CHICAGO))
    assert [(later - sooner) / HOUR for sooner, later in pairwise(spring)] == [5, 6, 6]
    assert [(later - sooner) / HOUR for sooner, later in pairwise(autumn)] == [7, 6, 6]


def test_age_is_that_of_the_calendar_day_of_the_hospital_on_both_nights(lake_of) -> None:
    facts: Rows = {"patient": []}
    rows: list[tuple[str, datetime]] = []
    born: dict[str, date] = {}
    for zone in ZONES:
        for change in changes(zone):
            for birth in (change.replace(year=1950), (change + DAY).replace(year=1950), date(1952, 2, 29)):
                patient = f"{source_of(zone)}/{change}.{birth}"
                born[patient] = birth
                facts["patient"].append(fact(patient, datetime(1990, 1, 1, tzinfo=UTC), birth_date=birth, sex="female"))
                rows += [(patient, at) for n in (-1, 0, 1) for at in instants_of(change + n * DAY, zone)]
    found = view_rows(lake_of(facts), view("patient_demographics"), spine_of(rows)).to_pylist()
    zones = {source_of(zone): ZoneInfo(zone) for zone in ZONES}
    assert len(found) == len(rows) > 5_000
    for row in found:
        patient = row["encounter_id"].removesuffix(".e")
        today = row["prediction_time"].astimezone(zones[patient.partition("/")[0]]).date()
        birth = born[patient]
        years = today.year - birth.year - ((today.month, today.day) < (birth.month, birth.day))
        assert row["age_years"] == years, (patient, row["prediction_time"])


def test_whoever_turns_18_on_such_a_night_is_18_from_midnight_of_the_hospital_on(lake_of) -> None:
    facts: Rows = {"patient": [], "encounter": []}
    is_18: dict[str, bool] = {}
    for change in changes(CHICAGO):
        for number, at in enumerate(instants_of(change, CHICAGO) + instants_of(change - DAY, CHICAGO)):
            patient = f"{source_of(CHICAGO)}/{change}.{number}"
            is_18[patient] = at.astimezone(ZoneInfo(CHICAGO)).date() >= change
            facts["patient"].append(fact(patient, at - 9 * DAY, birth_date=change.replace(year=2006)))
            known = {"available_at": at, "ended_at": at, "discharge_disposition": "home"}
            facts["encounter"] += [stay(patient, at - 3 * DAY), stay(patient, at - 3 * DAY, **known)]
    rows = cohort(lake_of(facts), use_case("readmission_30d"), datetime(2025, 1, 1, tzinfo=UTC)).to_pylist()
    assert {row["patient_id"]: row["excluded_reason"] != "under_18" for row in rows} == is_18
    assert set(is_18.values()) == {True, False}


def test_windows_and_stays_last_their_hours_whatever_the_wall_clock_shows(lake_of) -> None:
    facts: Rows = {"patient": [], "encounter": [], "observation": []}
    rows = []
    for change in changes(CHICAGO):
        patient, at = f"{source_of(CHICAGO)}/{change}", instants_of(change, CHICAGO)[-1] + HOUR / 4
        rows.append((patient, at))
        facts["patient"].append(fact(patient, at - 60 * HOUR))
        facts["encounter"].append(stay(patient, at - 60 * HOUR))
        for name, back in (("in", 48 * HOUR - timedelta(microseconds=1)), ("out", 48 * HOUR), ("last", HOUR)):
            drawn = {"code": "2160-0", "value_number": 1.0, "observation_id": f"{patient}.{name}"}
            facts["observation"].append(fact(patient, at - back, **drawn))
    lake = lake_of(facts)
    draws = view_rows(lake, view("recent_labs"), spine_of(rows)).to_pylist()
    assert [(row["creatinine_draw_48h_count"], row["creatinine_since_last_hours"]) for row in draws] == [(2, 1), (2, 1)]
    stays = view_rows(lake, view("encounter_history"), spine_of(rows)).to_pylist()
    assert [row["in_stay_hours"] for row in stays] == [60, 60]


def test_horizons_last_their_hours_and_lateness_whatever_the_wall_clock_shows(lake_of) -> None:
    facts: Rows = {"patient": [], "encounter": [], "observation": []}
    for change in changes(CHICAGO):
        patient, at = f"{source_of(CHICAGO)}/{change}", instants_of(change, CHICAGO)[0]
        facts["patient"].append(fact(patient, at - 9 * DAY, birth_date=date(1950, 1, 1)))
        ended = {"available_at": at, "ended_at": at, "discharge_disposition": "home"}
        facts["encounter"] += [stay(patient, at - 3 * DAY), stay(patient, at - 3 * DAY, **ended)]
        drawn = {"code": "2160-0", "value_number": 1.0, "observation_id": f"{patient}.o"}
        facts["observation"].append(fact(patient, at - 3 * DAY, **drawn))
    lake, now = lake_of(facts), datetime(2025, 6, 1, tzinfo=UTC)
    for name, horizon in (("aki_48h", 48 * HOUR), ("readmission_30d", 720 * HOUR)):
        rows = eligible(cohort(lake, use_case(name), now))
        told = labels(lake, use_case(name), rows, now).to_pylist()
        assert len(told) >= 2
        assert {row["label_known_at"] - row["prediction_time"] for row in told} == {horizon + 24 * HOUR}


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("20241103013000", "2024-11-03 07:30"),  # repeated: the later one
        ("20241103013000-0500", "2024-11-03 06:30"),
        ("20241103005959", "2024-11-03 05:59:59"),
        ("20240310023000", "2024-03-10 08:30"),  # left out: 03:30 by the clock of then
        ("20240310", "2024-03-10 06:00"),
        ("20241104", "2024-11-04 06:00"),
    ],
)
def test_a_time_without_offset_on_such_a_night_becomes_one_instant(tmp_path: Path, written: str, instant: str) -> None:
    with connect(tmp_path) as connection:
        make_macros(connection, contract())
        sql = f"select {instant_sql('sent', 'start_of_day')} from (select $text as sent)"
        [(found,)] = connection.execute(sql, {"text": written}).fetchall()
    assert found.astimezone(UTC) == datetime.fromisoformat(instant).replace(tzinfo=UTC)


def test_the_ends_of_days_of_23_and_25_hours_are_those_of_the_hospital(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        make_macros(connection, contract())
        asked = ", ".join(f"read_day_end('{day}') - read_day_start('{day}')" for day in changes(CHICAGO))
        assert connection.execute(f"select {asked}").fetchall() == [
            (23 * HOUR - timedelta(microseconds=1), 25 * HOUR - timedelta(microseconds=1))
        ]
