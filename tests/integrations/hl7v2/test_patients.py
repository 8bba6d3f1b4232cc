"""Whom a message is about, and by which identifiers other feeds may know them."""

import pytest

from tests.integrations.hl7v2.conftest import MSH, OBR, obx


def links(laboratory, identifiers):
    return laboratory.sends(MSH, f"PID|1||{identifiers}", OBR, obx()).links


def test_an_identifier_links_the_patient_to_its_namespace(laboratory):
    assert links(laboratory, "M1^^^LAB&1.2.3&ISO^MR") == [
        {
            "record_file": "oru.hl7",
            "record_line": 2,
            "problem": None,
            "problem_detail": None,
            "is_empty": False,
            "out_of_scope_reason": None,
            "patient_id": "M1",
            "effective_at": None,
            "issued_at": "20240301120000",
            "is_retracted": False,
            "link_id": "M1|urn:oid:1.2.3|M1",
            "system": "urn:oid:1.2.3",
            "value": "M1",
        }
    ]


def test_the_medical_record_number_is_the_patient_wherever_it_stands(laboratory):
    found = links(laboratory, "123^^^USA^SS~M1^^^LAB^MR~M2^^^OTHER^MR")
    assert {link["patient_id"] for link in found} == {"M1"} == {row["patient_id"] for row in laboratory.results}
    assert {(link["system"], link["value"]) for link in found} == {("USA", "123"), ("LAB", "M1"), ("OTHER", "M2")}


def test_without_a_medical_record_number_the_first_identifier_is_the_patient(laboratory):
    assert {link["patient_id"] for link in links(laboratory, '""^^^X^PI~P1^^^X^PI~P2^^^X^PI')} == {"P1"}


@pytest.mark.parametrize(
    ("authority", "system"),
    [
        ("LAB&1.2.3&ISO", "urn:oid:1.2.3"),
        ("&1.2.3&ISO", "urn:oid:1.2.3"),
        ("LAB&1.2.3", "urn:oid:1.2.3"),
        ("LAB&f81d4fae&UUID", "urn:uuid:f81d4fae"),
        ("LAB&f81d4fae&GUID", "urn:uuid:f81d4fae"),
        ("LAB&lab.example.org&DNS", "lab.example.org"),
        ("LAB", "LAB"),
        ("LAB&&ISO", "LAB"),
    ],
)
def test_a_namespace_is_a_uri_where_the_sender_gives_one(laboratory, authority, system):
    assert [link["system"] for link in links(laboratory, f"M1^^^{authority}^MR")] == [system]


def test_an_identifier_without_a_namespace_links_nobody(laboratory):
    (link,) = links(laboratory, "M1")
    assert (link["is_empty"], link["out_of_scope_reason"]) == (True, "identifier_without_namespace")
    assert laboratory.result["patient_id"] == "M1"


@pytest.mark.parametrize("kind", ["AN", "VN"])
def test_the_number_of_a_stay_or_an_account_is_no_identifier_of_a_person(laboratory, kind):
    assert [link["value"] for link in links(laboratory, f"V9^^^LAB^{kind}~M1^^^LAB^MR")] == ["M1"]


@pytest.mark.parametrize("identifiers", ["", '""', "^^^LAB^MR"])
def test_a_patient_without_an_identifier_is_counted_and_nobody(laboratory, identifiers):
    (link,) = links(laboratory, identifiers)
    assert (link["is_empty"], link["out_of_scope_reason"]) == (True, "no_identifier")
    assert (laboratory.result["patient_id"], laboratory.result["problem"]) == (None, None)


def test_a_short_patient_segment_is_a_patient_without_an_identifier(laboratory):
    (link,) = laboratory.sends(MSH, "PID").links
    assert link["out_of_scope_reason"] == "no_identifier"
