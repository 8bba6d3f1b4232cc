"""The foreign bulk export, counted: what the files hold is what the tables hold."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from integrations.contract import SOURCES
from integrations.duck import connect
from integrations.fhir.staging import stage
from integrations.ingest import IngestPlaces, IngestResult, ingest, tables_report
from integrations.lake import Lake
from integrations.records import Records, open_records

RECEIVED_AT = datetime(2025, 1, 1, tzinfo=UTC)
House = tuple[IngestPlaces, Records, IngestResult]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, needs_shared: Callable[[str], Path]) -> Iterator[House]:
    """A home that has ingested the export."""
    export = needs_shared("data/synthea_bulk")
    home = tmp_path_factory.mktemp("synthea")
    records = open_records(f"sqlite:///{home / 'records.db'}")
    places = IngestPlaces(landing=home / "landing", lake=Lake(home / "lake", 2), sources=SOURCES, temp=home / "tmp")
    done = ingest("synthea_bulk", export, as_of=RECEIVED_AT, is_history=False, places=places, records=records)
    yield places, records, done
    records.close()


def rows(house: House, sql: str, table: str) -> list[tuple[Any, ...]]:
    places, _, _ = house
    with connect(places.temp) as connection:
        places.lake.open_snapshot(connection, places.lake.versions(), tables=[table], materialize=False)
        return connection.execute(sql).fetchall()


def test_nothing_is_bad_and_every_record_is_accounted_for(house: House) -> None:
    _, _, done = house
    assert done.quarantined == {}
    assert all(account.balances and not account.waiting for account in done.accounts.values())
    assert done.accounts["none"].out_of_scope == 38 + 897 + 452 + 452 + 2


def test_facts_and_records_are_as_counted_in_the_files(house: House) -> None:
    places, records, _ = house
    report = {row["table"]: row for row in tables_report(records, places)}
    assert (report["encounter"]["facts"], report["encounter"]["patients"]) == (3_697, 100)
    assert report["observation"]["records"] == 16_315
    assert {name: row["records"] for name, row in report.items()} == {
        "patient": 100,
        "patient_link": 100,
        "encounter": 3_697,
        "encounter_location": 3_697,
        "condition": 639,
        "procedure": 2_351,
        "observation": 16_315,
        "medication": 2_386,
        "imaging_study": 16,
    }
    assert report["encounter_location"]["facts"] == 0
    assert report["patient"]["facts"] == 100


def test_every_stay_is_admitted_and_then_discharged(house: House) -> None:
    sql = """
        select count(*), count(distinct encounter_id), count(distinct patient_id), bool_and(is_available_at_inferred)
        from encounter where class = 'inpatient'
    """
    assert rows(house, sql, "encounter") == [(202, 101, 20, True)]
    sql = "select count(*) from encounter where available_at <> coalesce(ended_at, started_at)"
    assert rows(house, sql, "encounter") == [(0,)]


def test_a_result_of_the_past_is_known_when_it_was_issued(house: House) -> None:
    sql = (
        "select count(*) from observation where available_at not between effective_at and effective_at + interval 1 day"
    )
    assert rows(house, sql, "observation") == [(0,)]
    assert rows(house, "select max(available_at) < timestamptz '2020-05-07' from observation", "observation") == [
        (True,)
    ]


def test_985_observations_have_components_and_1019_are_coded(
    house: House, needs_shared: Callable[[str], Path], tmp_path: Path
) -> None:
    file = needs_shared("data/synthea_bulk") / "Observation.ndjson"
    with connect(tmp_path) as connection:
        staged = stage(connection, "observation", [file])
        [counted] = connection.execute(
            f"""
            select
                count(distinct record_line),
                count(distinct record_line) filter (contains(observation_id, '#')),
                count(*) filter (value_code is not null)
            from {staged}
            """
        ).fetchall()
    assert counted == (16_315, 985, 1_019)
    assert rows(
        house,
        "select count(distinct observation_id) filter (contains(observation_id, '#')) from observation",
        "observation",
    ) == [(2 * 983,)]
