"""Who is due once more when what held them has ended."""

from pathlib import Path

import pyarrow as pa

from models.catalog import use_case
from models.cohort import cohort, due, eligible
from models.release import due_after_release
from tests.models.cohort_rows import AS_OF, INSTANT, READMISSION, Lake, at, keys_of, opened, told

AKI = use_case("aki_48h")
T = "2024-05-30 06:00"


def inpatient(name: str, *creatinine: tuple[str, float, str], **stay: object) -> dict[str, list[dict[str, object]]]:
    """A stay since the 29th, with creatinine (collected, value, known): the first of 1.0 known long before T."""
    draws = [("2024-05-29 08:00", 1.0, "2024-05-29 09:00"), *creatinine]
    return {
        "patient": [{"id": name}],
        "encounter": [{"id": name, "patient": name, "started_at": "2024-05-29 06:00", **stay}],
        "observation": [
            {"patient": name, "code": "2160-0", "value_number": value, "effective_at": at, "available_at": known}
            for at, value, known in draws
        ],
    }


def hospital(folder: Path, *stays: dict[str, list[dict[str, object]]]) -> Lake:
    return opened(folder, {table: [row for stay in stays for row in stay[table]] for table in stays[0]})


def released_at(time: str, *names: str, held_at: str = T) -> pa.Table:
    keys = keys_of(*((f"000.{name}", held_at) for name in names))
    return keys.append_column("released_at", pa.array([at(time)] * len(names), INSTANT))


def test_a_held_stay_is_due_once_more_at_the_release_unless_what_was_released_excludes_it(tmp_path: Path) -> None:
    release = "2024-05-30 06:40"
    lake = hospital(
        tmp_path,
        inpatient("a", ("2024-05-30 05:00", 1.1, release)),
        inpatient("b", ("2024-05-30 05:00", 1.6, release)),
        inpatient("c", ("2024-05-30 06:20", 1.6, release)),
        inpatient("d", ended_at="2024-05-30 06:30"),
        inpatient("e"),
    )
    rows = cohort(lake, AKI, at(T), since=at("2024-05-30 05:00"))
    assert rows["excluded_reason"].to_pylist() == [None] * 5
    again = due_after_release(lake, rows, AKI, released_at(release, "a", "b", "c", "d"))
    assert again.schema == rows.schema
    assert told(again) == [(f"ehr/000.{name}", "30 06:40") for name in "abc"]
    assert again["excluded_reason"].to_pylist() == [None, "aki_already_met", "aki_already_met"]
    scored = rows.append_column("is_by_round", pa.array([True] * 5))
    found = due(lake, pa.concat_tables([rows, again]), AKI, scored, at("2024-05-30 07:00"))
    assert told(eligible(found.live)) == [("ehr/000.a", "30 06:40")]


def test_a_release_at_a_time_of_the_cohort_adds_no_second_row(tmp_path: Path) -> None:
    lake = hospital(tmp_path, inpatient("b", ("2024-05-30 05:00", 1.6, "2024-05-30 12:00")))
    rows = cohort(lake, AKI, at("2024-05-30 12:00"), since=at("2024-05-30 05:00"))
    assert rows["excluded_reason"].to_pylist() == [None, "aki_already_met"]
    assert due_after_release(lake, rows, AKI, released_at("2024-05-30 12:00", "b")).num_rows == 0


def test_a_release_after_max_age_makes_nobody_due(tmp_path: Path) -> None:
    lake = hospital(tmp_path, inpatient("a"))
    rows = cohort(lake, AKI, at(T), since=at("2024-05-30 05:00"))
    assert due_after_release(lake, rows, AKI, released_at("2024-05-30 12:01", "a")).num_rows == 0


def test_a_discharge_that_was_held_twice_over_is_due_once_more(tmp_path: Path) -> None:
    lake = hospital(tmp_path, inpatient("a", discharge_disposition="home", ended_at="2024-05-30 06:00"))
    rows = cohort(lake, READMISSION, AS_OF)
    assert told(rows) == [("ehr/000.a", "30 06:00")]
    twice = pa.concat_tables([released_at("2024-05-31 09:00", "a"), released_at("2024-05-31 09:00", "a")])
    assert told(due_after_release(lake, rows, READMISSION, twice)) == [("ehr/000.a", "31 09:00")]


def test_a_held_stay_is_not_due_again_once_its_horizon_is_past(tmp_path: Path) -> None:
    late = {"started_at": "2024-04-29", "discharge_disposition": "home", "discharge_known_at": "2024-05-30 12:00"}
    lake = hospital(
        tmp_path,
        inpatient("a", ended_at="2024-05-01 09:00", **late),
        inpatient("b", ended_at="2024-05-01 09:01", **late),
    )
    rows = cohort(lake, READMISSION, AS_OF)
    assert told(rows) == [("ehr/000.a", "30 12:00"), ("ehr/000.b", "30 12:00")]
    again = due_after_release(
        lake, rows, READMISSION, released_at("2024-05-31 09:00", "a", "b", held_at="2024-05-30 12:00")
    )
    assert told(again) == [("ehr/000.b", "31 09:00")]
    assert again["horizon_starts_at"].to_pylist() == [at("2024-05-01 09:01")]
