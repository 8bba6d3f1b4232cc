"""Whom a message is about, and by which identifiers other feeds may know them."""

import pytest

from tests.integrations.hl7v2.conftest import MSH, OBR, PID, contract, obx


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


OURS = "LAB&1.2.3&ISO"
STRANGER = "M1^^^OTHERHOSP&9.9.9.9&ISO^MR"


def told(rows):
    return [(row["problem"], row["problem_detail"], row["patient_id"]) for row in rows]


@pytest.mark.parametrize(
    ("identifiers", "patient_id"),
    [
        (f"E7^^^ENTERPRISE&4.4.4&ISO^MR~M1^^^{OURS}^MR", "M1"),
        (f"{STRANGER}~M2^^^{OURS}^MR", "M2"),
        (f"123^^^{OURS}^SS~M1^^^{OURS}^MR", "M1"),
        (f"P1^^^{OURS}^PI", "P1"),
        (f"M1^^^{OURS}", "M1"),
        (f"M1^^^{OURS}^MR~M1^^^{OURS}^MR", "M1"),
        (f"V9^^^{OURS}^VN~M1^^^{OURS}^MR", "M1"),
        ("M1^^^&1.2.3&ISO^MR", "M1"),
        ("M1^^^OTHERNAME&1.2.3&ISO^MR", "M1"),
        ("M1^^^LAB&1.2.3^MR", "M1"),
        (f"M1^^^^MR^{OURS}", "M1"),
    ],
)
def test_the_patient_is_the_identifier_of_the_named_authority_wherever_it_stands(laboratory, identifiers, patient_id):
    found = links(laboratory, identifiers)
    assert {patient_id} == {link["patient_id"] for link in found} == {row["patient_id"] for row in laboratory.results}
    assert [link["value"] for link in found if link["system"] == "urn:oid:1.2.3"] == [patient_id]


@pytest.mark.parametrize(
    "identifiers",
    [
        STRANGER,
        "M1^^^LAB^MR",
        "M1^^^LAB&&ISO^MR",
        "M1^^^LAB&1.2.3&DNS^MR",
        "M1^^^LAB&1.2.3&L^MR",
        "M1^^^LAB&1.2.33&ISO^MR",
        r"M1^^^LAB\T\1.2.3\T\ISO^MR",
        "M1",
        "M1^^^^MR",
        "M1^^^^MR^OTHERHOSP",
        f"V9^^^{OURS}^VN",
        f"V9^^^{OURS}^AN~{STRANGER}",
    ],
)
def test_a_number_of_another_authority_is_a_strangers_and_names_nobody(laboratory, identifiers):
    assert told(links(laboratory, identifiers)) == [("foreign_patient", "PID-3", None)]
    assert told(laboratory.results) == [("foreign_patient", "PID-3", None)]
    assert laboratory.result["local_code"] == "2160-0"


@pytest.mark.parametrize("kind", ["MR", "PI", ""])
def test_two_numbers_of_the_named_authority_are_two_patients_and_link_nobody(laboratory, kind):
    found = links(laboratory, f"M1^^^{OURS}^{kind}~M2^^^{OURS}^{kind}")
    assert told(found) == told(laboratory.results) == [("two_patients", "PID-3", None)]


def test_the_next_patient_of_the_message_is_not_spoilt_by_a_stranger(laboratory):
    laboratory.sends(MSH, f"PID|1||{STRANGER}", OBR, obx(), PID, OBR, obx())
    assert [row["patient_id"] for row in laboratory.results] == [None, "M1"]


@pytest.mark.parametrize(
    ("names", "identifier"),
    [
        (("LAB",), "M1^^^LAB^MR"),
        (("NORTH", "LAB"), "M1^^^LAB&&ISO^MR"),
        (("",), "M1"),
        (("",), "M1^^^^MR"),
        (("LAB",), "M1^^^^MR^LAB"),
    ],
)
def test_a_name_alone_or_none_is_the_authority_where_the_contract_says_so(laboratory, names, identifier):
    laboratory.contract = contract(authorities=tuple(names))
    [link] = links(laboratory, identifier)
    assert (link["patient_id"], link["system"], link["value"]) == ("M1", "urn:oid:1.2.3", "M1")


@pytest.mark.parametrize("identifier", [STRANGER, "M1^^^LAB&9.9.9.9&ISO^MR", "M1^^^^MR^OTHERHOSP"])
def test_a_name_that_the_contract_knows_does_not_outweigh_another_universal_id(laboratory, identifier):
    laboratory.contract = contract(authorities=("", "LAB"))
    assert told(links(laboratory, identifier)) == [("foreign_patient", "PID-3", None)]


@pytest.mark.parametrize("segment", [f"PID|1|M1^^^{OURS}^MR", f"PID|1|||M1^^^{OURS}^MR"])
def test_the_withdrawn_fields_for_other_ids_name_nobody(laboratory, segment):
    [link] = laboratory.sends(MSH, segment, OBR, obx()).links
    assert (link["patient_id"], link["out_of_scope_reason"]) == (None, "no_identifier")
    assert laboratory.result["patient_id"] is None


@pytest.mark.parametrize(
    ("authority", "system"),
    [
        ("LAB&9.2.3&ISO", "urn:oid:9.2.3"),
        ("&9.2.3&ISO", "urn:oid:9.2.3"),
        ("LAB&9.2.3", "urn:oid:9.2.3"),
        ("LAB&9.2.3&DNS", "9.2.3"),
        ("LAB&f81d4fae&UUID", "urn:uuid:f81d4fae"),
        ("LAB&f81d4fae&GUID", "urn:uuid:f81d4fae"),
        ("LAB&lab.example.org&DNS", "lab.example.org"),
        ("LAB", "LAB"),
        ("LAB&&ISO", "LAB"),
    ],
)
def test_a_namespace_is_a_uri_where_the_sender_gives_one(laboratory, authority, system):
    found = links(laboratory, f"M1^^^{OURS}^MR~N5^^^{authority}^NI")
    assert [(link["system"], link["value"]) for link in found] == [("urn:oid:1.2.3", "M1"), (system, "N5")]


def test_an_identifier_without_a_namespace_links_nobody(laboratory):
    _, link = links(laboratory, f"M1^^^{OURS}^MR~N5")
    assert (link["is_empty"], link["out_of_scope_reason"]) == (True, "identifier_without_namespace")
    assert laboratory.result["patient_id"] == "M1"


@pytest.mark.parametrize("kind", ["AN", "VN"])
def test_the_number_of_a_stay_or_an_account_is_no_identifier_of_a_person(laboratory, kind):
    assert [link["value"] for link in links(laboratory, f"V9^^^X^{kind}~M1^^^{OURS}^MR")] == ["M1"]


@pytest.mark.parametrize("identifiers", ["", '""', "^^^LAB^MR"])
def test_a_patient_without_an_identifier_is_counted_and_nobody(laboratory, identifiers):
    (link,) = links(laboratory, identifiers)
    assert (link["is_empty"], link["out_of_scope_reason"]) == (True, "no_identifier")
    assert (laboratory.result["patient_id"], laboratory.result["problem"]) == (None, None)


def test_a_short_patient_segment_is_a_patient_without_an_identifier(laboratory):
    (link,) = laboratory.sends(MSH, "PID").links
    assert link["out_of_scope_reason"] == "no_identifier"
