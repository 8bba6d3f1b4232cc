"""A dry run says which codes and units nobody has decided about, and why each record would be set aside."""

import pytest

from integrations.ingest import IngestResult, SetAside, UndecidedCode
from tests.integrations.ingest.conftest import Ward, blood_pressure, patient, result

TWICE = {"code": {"coding": [{"code": "A"}]}, "valueInteger": 1}


def plan(ward: Ward, *lines: object) -> IngestResult:
    """What a dry run says of these results."""
    return ward.ingest(ward.extract(Observation=lines), night=1, dry_run=True)  # type: ignore[arg-type]


def local(id: str, code: str, system: str | None = "urn:lab", **more: object) -> dict[str, object]:
    """A result under a code of the laboratory's own."""
    coding = {"code": code} | ({"system": system} if system else {})
    return result(id, **more) | {"code": {"coding": [coding]}}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # an unknown code, in two units, with and without a number
        (
            [local("o1", "CREA"), local("o2", "CREA", unit="umol/L"), local("o3", "CREA")],
            [("urn:lab", "CREA", None, 3, {"mg/dL": 2, "umol/L": 1})],
        ),
        ([local("o1", "COL", valueQuantity=None, valueString="red")], [("urn:lab", "COL", None, 1, {"": 1})]),
        # a code that is sent without a system
        ([local("o1", "CREA", None)], [("", "CREA", None, 1, {"mg/dL": 1})]),
        # a known code in an unknown unit, and in none
        (
            [result("o1"), result("o2", unit="mg/L"), result("o3", unit="")],
            [("http://loinc.org", "2160-0", "2160-0", 2, {"": 1, "mg/L": 1})],
        ),
        # whatever else speaks against the record
        (
            [local("o1", "CREA", issued="2500-01-01T00:00:00Z"), local("o2", "CREA", of="p9")],
            [("urn:lab", "CREA", None, 2, {"mg/dL": 2})],
        ),
        # one record that says a code twice is one record
        (
            [blood_pressure("o1", 120, 80) | {"component": [TWICE, TWICE]}],
            [("", "A", None, 1, {"": 1})],
        ),
        # what is out of scope or withdrawn needs no decision
        ([result("o1", code="9999-9", unit="furlong")], []),
        ([result("o1", unit="furlong", status="entered-in-error")], []),
        ([local("o1", "CREA", valueQuantity=None)], []),
        ([result("o1", unit="umol/L"), result("o2", code="72166-2", valueQuantity=None, valueString="never")], []),
    ],
)
def test_a_code_or_unit_is_undecided_where_codes_csv_does_not_name_it(
    open_ward: Ward, lines: list[object], expected: list[tuple[object, ...]]
) -> None:
    found = plan(open_ward, *lines).undecided
    assert [(each.local_system, each.local_code, each.loinc, each.records, each.units) for each in found] == expected


def test_the_most_frequent_code_comes_first(open_ward: Ward) -> None:
    found = plan(open_ward, local("o1", "A"), local("o2", "B"), local("o3", "B")).undecided
    assert [(each.local_code, each.records) for each in found] == [("B", 2), ("A", 1)]


def test_every_record_that_is_set_aside_is_told_with_its_table_and_reason(open_ward: Ward) -> None:
    path = open_ward.extract(
        Patient=[patient("p2", identifier=[{"system": "urn:other", "value": "1"}])],
        Practitioner=["{}"],
        Observation=[
            local("o1", "A"),
            local("o2", "A"),
            result("o3", 5000),
            result("o4", code="9999-9"),
            result("o5", of="p9", stay=None),
            result("o6", stay="e9"),
            result("o7"),
        ],
    )
    told = open_ward.ingest(path, night=1, dry_run=True)
    assert [(each.outcome, each.table, each.reason, each.records) for each in told.set_aside] == [
        ("quarantined", "observation", "unknown_code", 2),
        ("quarantined", "observation", "impossible_value", 1),
        ("waiting", "observation", "for its encounter", 1),
        ("waiting", "observation", "for its patient", 1),
        ("out_of_scope", "observation", "no use case needs it", 1),
        ("out_of_scope", "patient_link", "identifier_of_no_person", 1),
        ("out_of_scope", "none", "not about patients", 1),
    ]
    for table, account in told.accounts.items():
        for outcome in ("quarantined", "waiting", "out_of_scope"):
            of_it = [each.records for each in told.set_aside if (each.table, each.outcome) == (table, outcome)]
            assert sum(of_it) == getattr(account, outcome)


def test_an_extract_that_is_taken_in_keeps_its_codes_in_quarantine_and_not_in_the_answer(open_ward: Ward) -> None:
    done = open_ward.send(night=1, Observation=[local("o1", "A")])
    assert (done.set_aside, done.undecided) == ((), ())
    assert open_ward.reasons() == {"unknown_code": 1}


def test_a_dry_run_can_judge_once_more_what_was_ingested_before(open_ward: Ward) -> None:
    path = open_ward.extract(Observation=[local("o1", "A"), result("o2")])
    open_ward.ingest(path, night=1)
    assert not open_ward.ingest(path, night=2, dry_run=True).is_new
    told = open_ward.ingest(path, night=2, dry_run=True, once_more=True)
    assert told.undecided == (
        UndecidedCode(local_system="urn:lab", local_code="A", loinc=None, records=1, units={"mg/dL": 1}),
    )
    assert told.set_aside == (SetAside(table="observation", outcome="quarantined", reason="unknown_code", records=1),)
    assert (told.accounts["observation"].unchanged, told.accounts["observation"].quarantined) == (1, 1)
    assert not open_ward.ingest(path, night=2, once_more=True).is_new  # nothing is ever taken in twice


def test_a_code_without_a_system_is_known_once_codes_csv_names_it_so(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[local("o1", "CREA", None), local("o2", "CREA", value=9, unit="mg/dL")])
    codes = open_ward.places.sources / "ward" / "codes.csv"
    codes.write_text(codes.read_text() + ",CREA,2160-0,mg/dL,,the laboratory\n")
    done = open_ward.send(night=2, Observation=[local("o3", "CREA", None), local("o4", "CREA")])
    assert (done.accounts["observation"].mapped, done.quarantined) == (1, {"unknown_code": 1})
    rows = open_ward.rows("select local_system, local_code, code, value_number from observation")
    assert rows == [(None, "CREA", "2160-0", 1.0)]
