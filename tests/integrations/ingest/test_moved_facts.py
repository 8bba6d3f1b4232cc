"""A fact that turns out to be another patient's is the former one's no more, wherever the two lie in the lake."""

from datetime import timedelta
from typing import Any

import pytest

from integrations.duck import connect
from integrations.identity import bucket_of
from integrations.ingest import ledger
from integrations.reading import WorkBuckets
from models.catalog import use_case
from models.cohort import cohort
from tests.integrations.ingest.conftest import FIRST_NIGHT, Ward, encounter, patient, result
from tests.integrations.ingest.test_two_doors import FEEDS

P1, P2 = "p1", next(f"q{number}" for number in range(99) if bucket_of(f"ward/q{number}", 4) != bucket_of("ward/p1", 4))
Seen = list[tuple[str, float]]


def seen(ward: Ward, night: float, buckets: WorkBuckets | None) -> Seen:
    """Whose results are known in some night, read from some work buckets or from all."""
    at = FIRST_NIGHT + timedelta(days=night)
    with ward.records.read() as db, connect(ward.places.temp, memory_limit_mb=100, threads=1) as connection:
        _, versions = ledger.newest_snapshot(db)
        ward.places.lake.open_snapshot(connection, versions, buckets=buckets)
        return connection.execute(
            "select patient_id, value_number from observation "
            "where available_at <= $at and $at < superseded_at and not is_retracted order by all",
            {"at": at},
        ).fetchall()


def seen_everywhere(ward: Ward, night: float) -> Seen:
    """The same read as a whole, by bucket and by slices of buckets, which must agree."""
    whole = seen(ward, night, None)
    for count in (4, 12):
        assert sorted(row for each in range(count) for row in seen(ward, night, WorkBuckets(count, (each,)))) == whole
    return whole


def test_a_result_given_to_another_patient_is_the_former_ones_until_then(ward: Ward) -> None:
    ward.send(
        Patient=[patient(P1), patient(P2)],
        Encounter=[encounter("e1"), encounter("e2", of=P2)],
        Observation=[result("o1", 1.0), result("o2", 2.0)],
    )
    moved = ward.send(night=1, Observation=[result("o1", 1.0, of=P2, stay="e2")])
    again = ward.send(night=2, Encounter=[encounter("e1")], Observation=[result("o1", 1.0, of=P2, stay="e2")])
    ward.send(night=3, Observation=[result("o1", 3.0)])
    ward.send(night=4, Observation=[result("o1", 3.0, of=P2, stay="e2", status="entered-in-error")])
    kept = ("ward/p1", 2.0)
    assert [seen_everywhere(ward, night) for night in range(5)] == [
        [("ward/p1", 1.0), kept],
        [kept, (f"ward/{P2}", 1.0)],
        [kept, (f"ward/{P2}", 1.0)],
        [kept, ("ward/p1", 3.0)],
        [kept],
    ]
    assert (moved.accounts["observation"].mapped, again.accounts["observation"].unchanged) == (1, 1)


def test_a_result_that_is_told_of_two_patients_in_one_extract_is_the_last_ones(ward: Ward) -> None:
    ward.send(
        Patient=[patient(P1), patient(P2)],
        Encounter=[encounter("e1"), encounter("e2", of=P2)],
        Observation=[result("o1", 1.0), result("o1", 1.0, of=P2, stay="e2", issued="2024-03-02T12:00:00.000-06:00")],
    )
    assert seen_everywhere(ward, 0) == [(f"ward/{P2}", 1.0)]


def test_a_stay_given_to_another_patient_is_the_former_ones_no_more(ward: Ward) -> None:
    ward.send(Patient=[patient(P1), patient(P2)], Encounter=[encounter("e1")])
    ward.send(night=1, Encounter=[encounter("e1", of=P2)])
    for count in (4, 12):
        stays = []
        for each in range(count):
            with ward.records.read() as db, connect(ward.places.temp, memory_limit_mb=100) as connection:
                _, versions = ledger.newest_snapshot(db)
                ward.places.lake.open_snapshot(connection, versions, buckets=WorkBuckets(count, (each,)))
                stays += connection.execute(
                    "select patient_id from encounter where superseded_at = 'infinity' and not is_retracted"
                ).fetchall()
        assert stays == [(f"ward/{P2}",)]


@pytest.mark.parametrize("name", ["readmission_30d", "aki_48h", "icu_mortality_48h"])
def test_a_cohort_says_the_same_of_a_stay_given_to_another_patient_however_the_lake_is_read(
    ward: Ward, name: str
) -> None:
    ends = {"end": "2024-03-10T20:00:00-06:00"} if name == "readmission_30d" else {}
    in_care = {"period": {"start": "2024-03-09T20:00:00-06:00"}, "serviceType": {"text": "icu"}}
    later = {**in_care, "period": {**in_care["period"], **ends}, "status": "finished" if ends else "in-progress"}
    ward.send(
        Patient=[patient(P1), patient(P2)],
        Encounter=[encounter("e1", **in_care), encounter("e2", of=P2, **in_care)],
        Observation=[result(who, of=who, stay=None, effectiveDateTime="2024-03-09T21:00:00-06:00") for who in (P1, P2)],
    )
    ward.send(night=1, Encounter=[encounter("e1", **later)])
    ward.send(night=3, Encounter=[encounter("e1", of=P2, **later)])
    read = [cohort_rows(ward, name, count) for count in (None, 4, 12)]
    assert read[0] == read[1] == read[2]
    of_p1 = {row["lapsed_reason"] for row in read[0] if row["patient_id"] == "ward/p1"}
    assert of_p1 == {"withdrawn"}


def cohort_rows(ward: Ward, name: str, count: int | None) -> list[dict[str, Any]]:
    """The cohort at the end, read as a whole or from so many work buckets one by one."""
    at, rows = FIRST_NIGHT + timedelta(days=4), list[dict[str, Any]]()
    for buckets in [None] if count is None else [WorkBuckets(count, (each,)) for each in range(count)]:
        with ward.records.read() as db, connect(ward.places.temp, memory_limit_mb=200, threads=1) as connection:
            _, versions = ledger.newest_snapshot(db)
            ward.places.lake.open_snapshot(connection, versions, buckets=buckets, feeds=FEEDS)
            rows += cohort(connection, use_case(name), at).to_pylist()
    return sorted(rows, key=str)
