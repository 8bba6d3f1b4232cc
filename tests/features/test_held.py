"""Which features are held by what lies in quarantine, and when a hold ends."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from sqlalchemy import insert

from features.definitions import view
from features.held import held_features, held_outcomes, released_holds
from integrations.duck import connect
from integrations.records import Records
from integrations.records import schema as s
from models.cases import Cases, open_stories

INSTANT = pa.timestamp("us", "UTC")
AS_OF = datetime(2024, 1, 20, tzinfo=UTC)
VIEWS = ("recent_labs", "vital_signs", "comorbidity")
Quarantine = Callable[..., None]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-01-{text}").replace(tzinfo=UTC)


def spine_of(*times: str, patient: str = "ehr/000.p1") -> pa.Table:
    return pa.table(
        {
            "site_id": ["demo"] * len(times),
            "patient_id": [patient] * len(times),
            "encounter_id": [f"{patient}.e"] * len(times),
            "prediction_time": pa.array([at(time) for time in times], INSTANT),
        }
    )


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """p1 is linked to a1 from the 5th on; p2 is someone else."""
    links = [
        {"id": "l1", "patient": "p1", "system": "mrn", "value": "1", "available_at": "2023-01-01"},
        {"id": "l2", "patient": "a1", "system": "mrn", "value": "1", "available_at": "2024-01-05"},
    ]
    facts = {"patient": [{"id": "p1"}, {"id": "a1"}, {"id": "p2"}], "patient_link": links}
    cases = {"time_zone": "UTC", "lateness_hours": {"ehr": 24}, "as_of": "2024-06-01"}
    connection = connect(tmp_path / "tmp", threads=1)
    whole = {**cases, "cases": [{"story": "one", "facts": facts, "expect": {}}]}
    open_stories(connection, Cases.model_validate(whole), tmp_path)
    yield connection
    connection.close()


@pytest.fixture
def quarantine(sqlite_records: Records) -> Quarantine:
    """Put a row into quarantine: a creatinine of p1, collected on the 10th at noon, unless said otherwise."""
    with sqlite_records.begin() as connection:
        for extract_id, is_history in (("live", 0), ("history", 1)):
            values = {"source": "ehr", "site_id": "demo", "received_at": AS_OF, "digest": "x", "status": "landed"}
            connection.execute(insert(s.extract).values(extract_id=extract_id, is_history=is_history, **values))

    def put(**changes: Any) -> None:
        values = {
            "extract_id": "live",
            "source": "ehr",
            "table_name": "observation",
            "source_file": "f",
            "source_line": 1,
            "reason": "impossible_value",
            "detail": "",
            "record_hash": "x",
            "bytes": b"",
            "patient_id": "ehr/000.p1",
            "code": "2160-0",
            "effective_at": at("10 12:00"),
            "quarantined_at": at("10 13:00"),
        }
        with sqlite_records.begin() as connection:
            connection.execute(insert(s.quarantine).values(**{**values, **changes}))

    return put


@pytest.fixture
def held(sqlite_records: Records, lake: duckdb.DuckDBPyConnection) -> Callable[..., list[tuple[str, str, str]]]:
    """Ask which views are held for p1 at these times, or which features of them beyond the view's own hold window."""

    def ask(*times: str, as_of: datetime = AS_OF, patient: str = "ehr/000.p1") -> list[tuple[str, str, str]]:
        with sqlite_records.read() as connection:
            found = held_features(connection, lake, spine_of(*times, patient=patient), VIEWS, as_of).to_pylist()
        of_view = [row for row in found if not {*row["features"]} <= {*view(row["view"]).longer_hold_windows}]
        return [(f"{row['prediction_time']:%d %H:%M}", row["view"], row["reason"]) for row in of_view]

    return ask


Held = Callable[..., list[tuple[str, str, str]]]
LABS = ("recent_labs", "impossible_value")
RELEASED = {"released_at": at("15 12:00"), "released_by": "retry"}


def test_a_quarantined_creatinine_holds_the_labs_for_7_d_from_when_it_is_known(
    quarantine: Quarantine, held: Held
) -> None:
    quarantine()
    assert held("10 12:59", "10 13:00", "17 11:59", "17 12:00") == [("10 13:00", *LABS), ("17 11:59", *LABS)]


def test_a_creatinine_of_the_last_year_holds_what_looks_back_a_year_and_nothing_else(
    quarantine: Quarantine, sqlite_records: Records, lake: duckdb.DuckDBPyConnection
) -> None:
    longer = {
        *("creatinine_first_of_stay_mg_dl", "creatinine_lowest_of_stay_mg_dl", "creatinine_highest_of_stay_mg_dl"),
        *("creatinine_median_365d_mg_dl", "creatinine_to_median_365d_ratio"),
    }
    quarantine()
    year = timedelta(days=365)
    times = [at("17 11:59"), at("17 12:00"), at("10 11:59") + year, at("10 12:00") + year]
    spine = spine_of(*["01 00:00"] * 4).set_column(3, "prediction_time", pa.array(times, INSTANT))
    with sqlite_records.read() as connection:
        found = held_features(connection, lake, spine, VIEWS, AS_OF).to_pylist()
    assert [row["prediction_time"] for row in found] == times[:3]
    assert [{*row["features"]} == longer for row in found] == [False, True, True]
    assert {*found[0]["features"]} > longer


def test_another_patient_and_a_code_of_no_view_hold_nothing(quarantine: Quarantine, held: Held) -> None:
    quarantine(patient_id="ehr/000.p2")
    quarantine(code="1988-5")
    assert held("10 18:00") == []
    assert held("10 18:00", patient="ehr/000.p2") == [("10 18:00", *LABS)]


def test_a_vital_sign_holds_its_own_view_and_rows_of_one_reason_are_counted(
    quarantine: Quarantine, held: Held, sqlite_records: Records, lake: duckdb.DuckDBPyConnection
) -> None:
    quarantine(code="8867-4", reason="unknown_unit")
    quarantine()
    quarantine()
    assert held("10 18:00") == [("10 18:00", *LABS), ("10 18:00", "vital_signs", "unknown_unit")]
    with sqlite_records.read() as connection:
        found = held_features(connection, lake, spine_of("10 18:00"), VIEWS, AS_OF)
    assert found["row_count"].to_pylist() == [2, 1]


def test_a_row_under_another_number_of_the_person_holds_while_the_link_is_known(
    quarantine: Quarantine, held: Held
) -> None:
    quarantine(patient_id="ehr/000.a1", effective_at=at("04 06:00"), quarantined_at=at("04 07:00"))
    assert held("04 12:00", "05 12:00") == [("05 12:00", *LABS)]


@pytest.mark.parametrize("year", [2001, 2150])
def test_where_dates_are_moved_a_row_holds_at_its_own_time_until_it_is_released(
    quarantine: Quarantine, sqlite_records: Records, lake: duckdb.DuckDBPyConnection, year: int
) -> None:
    quarantine(extract_id="history", effective_at=datetime(year, 1, 10, 12, tzinfo=UTC), **RELEASED)
    times = [datetime(year, 1, 10, hour, tzinfo=UTC) for hour in (11, 12)]
    spine = spine_of(*["01 00:00"] * 2).set_column(3, "prediction_time", pa.array(times, INSTANT))

    def held_of(as_of: datetime) -> list[datetime]:
        with sqlite_records.read() as connection:
            return list(held_features(connection, lake, spine, VIEWS, as_of)["prediction_time"].to_pylist())

    lake.execute("update feed set is_date_shifted = true")
    assert held_of(at("15 11:59")) == times[1:]
    assert held_of(at("15 12:00")) == []
    lake.execute("update feed set is_date_shifted = false")
    assert held_of(at("15 12:00")) == (times[1:] if year < 2024 else []), "by our clock it was not released by then"


def test_a_row_whose_patient_or_code_cannot_be_read_holds_no_one(quarantine: Quarantine, held: Held) -> None:
    quarantine(patient_id=None)
    quarantine(code=None)
    assert held("10 18:00") == []


def test_where_the_time_cannot_be_read_or_lies_ahead_the_time_of_quarantine_stands_for_it(
    quarantine: Quarantine, held: Held
) -> None:
    quarantine(effective_at=None, reason="bad_time")
    quarantine(effective_at=at("30 12:00"), reason="impossible_time")
    assert held("10 12:59", "17 12:59", "17 13:00") == [
        ("17 12:59", "recent_labs", "bad_time"),
        ("17 12:59", "recent_labs", "impossible_time"),
    ]


def test_a_row_of_history_holds_from_its_collection_on_though_it_was_loaded_later(
    quarantine: Quarantine, held: Held
) -> None:
    quarantine(extract_id="history", quarantined_at=at("19 00:00"))
    assert held("10 11:59", "10 12:00") == [("10 12:00", *LABS)]
    assert held("10 12:00", as_of=at("18 00:00")) == []


def test_a_row_of_history_whose_time_cannot_be_read_may_be_of_any_time(quarantine: Quarantine, held: Held) -> None:
    quarantine(extract_id="history", effective_at=None, reason="bad_time", quarantined_at=at("19 00:00"))
    assert held("01 12:00", "10 12:00", "19 12:00") == [
        (day, "recent_labs", "bad_time") for day in ("01 12:00", "10 12:00", "19 12:00")
    ]


def test_a_released_row_holds_only_what_was_asked_before_its_release(quarantine: Quarantine, held: Held) -> None:
    quarantine(released_at=at("11 09:00"), released_by="superseded")
    assert held("11 08:59", "11 09:00") == [("11 08:59", *LABS)]


def test_a_result_of_long_ago_that_stays_in_quarantine_keeps_no_hold_from_ending(
    quarantine: Quarantine, sqlite_records: Records, lake: duckdb.DuckDBPyConnection
) -> None:
    long_ago = at("01 12:00") - timedelta(days=30)
    quarantine(effective_at=long_ago, quarantined_at=long_ago)

    def released() -> list[object]:
        with sqlite_records.read() as connection:
            return list(released_holds(connection, lake, spine_of("10 18:00"), VIEWS, AS_OF)["released_at"].to_pylist())

    assert released() == []
    quarantine(released_at=at("11 09:00"), released_by="superseded")
    assert released() == [at("11 09:00")]
    quarantine()
    assert released() == [], "one of the last days is not released"


def test_a_hold_ends_with_the_last_release_and_not_before(
    quarantine: Quarantine, sqlite_records: Records, lake: duckdb.DuckDBPyConnection
) -> None:
    quarantine(released_at=at("11 09:00"), released_by="superseded")
    quarantine(released_at=at("11 10:00"), released_by="retry")

    def released(as_of: datetime) -> list[dict[str, object]]:
        with sqlite_records.read() as connection:
            return released_holds(connection, lake, spine_of("10 18:00"), VIEWS, as_of).to_pylist()

    assert released(at("11 09:59")) == []
    (row,) = released(at("11 10:00"))
    assert (row["prediction_time"], row["released_at"]) == (at("10 18:00"), at("11 10:00"))
    quarantine()
    assert released(at("11 10:00")) == []


def test_an_outcome_is_held_while_a_result_of_its_window_is_in_quarantine(
    quarantine: Quarantine, sqlite_records: Records, lake: duckdb.DuckDBPyConnection
) -> None:
    def asked(*codes: str, as_of: datetime = AS_OF, patient: str = "ehr/000.p1") -> list[str]:
        spine = spine_of("08 11:59", "08 12:00", "10 11:59", "10 12:00", patient=patient)
        with sqlite_records.read() as connection:
            found = held_outcomes(connection, lake, spine, codes, timedelta(hours=48), as_of)
        return [f"{row['prediction_time']:%d %H:%M}" for row in found.to_pylist()]

    quarantine(released_at=at("15 00:00"), released_by="superseded", patient_id="ehr/000.a1")
    quarantine(released_at=at("15 00:00"), released_by="superseded")
    assert asked("2160-0", as_of=at("14 00:00")) == ["08 12:00", "10 11:59"]
    assert asked("2160-0", as_of=at("15 00:00")) == []
    assert asked("2160-0", as_of=at("10 12:59")) == []
    assert asked("2823-3", as_of=at("14 00:00")) == []
    assert asked(as_of=at("14 00:00")) == []
    assert asked("2160-0", as_of=at("14 00:00"), patient="ehr/000.p2") == []
