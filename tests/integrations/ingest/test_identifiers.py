"""Only an identifier that names one person makes two patient ids one person."""

import re
from typing import Any

import pytest

from integrations.duck import connect
from integrations.identity import find_fillers, make_same_person
from integrations.ingest import ledger
from tests.integrations.ingest.conftest import MRN, NATIONAL, Ward, patient

INSURANCE = "http://insurer.example/member"
BYSTANDER = patient("bystander", mrn="m9")


def known_by(id: str, *identifiers: tuple[str, str], **more: Any) -> dict[str, Any]:
    """A patient with these identifiers (system, value)."""
    return patient(id, identifier=[{"system": system, "value": value} | more for system, value in identifiers])


def persons(ward: Ward) -> set[str]:
    """The ids that are one person, each person written as its ids in order."""
    with ward.records.read() as db, connect(ward.places.temp, memory_limit_mb=100, threads=1) as connection:
        _, versions = ledger.newest_snapshot(db)
        ward.places.lake.open_snapshot(connection, versions, tables=["patient", "patient_link"], materialize=False)
        find_fillers(connection, "patient_link")
        make_same_person(connection)
        rows = connection.execute(
            "select distinct string_agg(other_patient_id, ' ' order by other_patient_id) "
            "from same_person group by patient_id"
        ).fetchall()
    return {re.sub(r"\w+/", "", members) for (members,) in rows}


def test_mother_and_newborn_with_one_insurance_number_are_two_persons(ward: Ward) -> None:
    mother = known_by("mother", (MRN, "m1"), (INSURANCE, "W77"))
    newborn = known_by("newborn", (MRN, "m2"), (INSURANCE, "W77"))
    done = ward.send(Patient=[mother, newborn, BYSTANDER])
    assert persons(ward) == {"mother", "newborn", "bystander"}
    assert done.accounts["patient_link"].mapped == 3
    assert ward.rows("select distinct system from patient_link") == [(MRN,)]


def test_a_patient_with_no_identifier_of_a_person_is_counted_out_of_scope_and_known(ward: Ward) -> None:
    done = ward.send(Patient=[known_by("p1", (INSURANCE, "W77")), BYSTANDER])
    assert (done.accounts["patient_link"].mapped, done.accounts["patient_link"].out_of_scope) == (1, 1)
    assert done.accounts["patient"].mapped == 2


def test_a_national_number_links_the_patients_of_two_feeds(ward: Ward) -> None:
    folder = ward.places.sources / "clinic"
    folder.mkdir()
    contract = (ward.places.sources / "ward" / "contract.yaml").read_text()
    (folder / "contract.yaml").write_text(contract.replace("source: ward", "source: clinic"))
    ward.send(Patient=[known_by("p1", (MRN, "m1"), (NATIONAL, "1950-0101-A")), BYSTANDER])
    assert persons(ward) == {"p1", "bystander"}
    ward.send(night=1, source="clinic", Patient=[known_by("k1", (NATIONAL, "1950-0101-A"))])
    assert persons(ward) == {"k1 p1", "bystander"}


@pytest.mark.parametrize(
    "more",
    [
        {"use": "old"},
        {"period": {"end": "2020-01-01"}},
        {"use": "usual"},
        {"use": "old", "period": {"start": "2001-01-01", "end": "2020-01-01"}},
    ],
)
def test_an_old_or_ended_record_number_still_links_whom_it_named(ward: Ward, more: dict[str, Any]) -> None:
    ward.send(Patient=[known_by("p1", (MRN, "m1")), known_by("p2", (MRN, "m1"), **more), BYSTANDER])
    assert persons(ward) == {"p1 p2", "bystander"}


@pytest.mark.parametrize(
    "value",
    ["0", "00000", "000-00-0000", "999999", " ", "-", "Unknown", "UNKNOWN.", "n/a", "xxx", "None", "not available"],
)
def test_a_filler_for_an_identifier_links_nobody(ward: Ward, value: str) -> None:
    done = ward.send(Patient=[known_by("p1", (MRN, value)), known_by("p2", (MRN, value)), BYSTANDER])
    assert persons(ward) == {"p1", "p2", "bystander"}
    assert (done.accounts["patient_link"].mapped, done.accounts["patient_link"].out_of_scope) == (1, 2)


@pytest.mark.parametrize("value", ["7", "10", "999", "M0000", "0000-1", "Nasser-1", "ÄÖ"])
def test_a_short_or_odd_number_is_no_filler(ward: Ward, value: str) -> None:
    ward.send(Patient=[known_by("p1", (MRN, value)), known_by("p2", (MRN, value)), BYSTANDER])
    assert persons(ward) == {"p1 p2", "bystander"}
