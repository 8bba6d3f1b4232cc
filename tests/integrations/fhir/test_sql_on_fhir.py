"""Views of one's own: what they give, and what is refused with its place."""

from decimal import Decimal
from typing import Any

import pytest

from integrations.fhir.sql_on_fhir import InvalidView, compile_view, run_view

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "birthDate": "1980-02",
    "name": [{"use": "official", "family": "Ada", "given": ["A", "B"]}, {"use": "old", "given": ["C"]}],
    "multipleBirthInteger": 2,
}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "valueQuantity": {"value": 1.25, "unit": "mg"},
    "subject": {"reference": "Patient/p1"},
    "component": [{"code": {"text": "one"}}, {"code": {"text": "two"}}],
}


def columns(**paths: str) -> dict[str, Any]:
    return {"column": [{"name": name, "path": path} for name, path in paths.items()]}


def rows(resource: dict[str, Any], *selects: dict[str, Any], **view: Any) -> list[dict[str, Any]]:
    return run_view({"resource": resource["resourceType"], "select": list(selects), **view}, [resource])


def one(path: str, resource: dict[str, Any] = PATIENT) -> Any:
    return rows(resource, columns(found=path))[0]["found"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("birthDate", "1980-02"),
        ("Patient.name.given[2]", "C"),
        ("name.last().use", "old"),
        ("name.given.count()", 3),
        ("name.where(use = 'old' or use = 'official').given.count()", 3),
        ("name.exists(use = 'maiden')", False),
        ("name.where(use != 'old').given.join('-')", "A-B"),
        ("multipleBirth.exists()", True),
        ("deceased.exists()", False),
        ("deceased.empty()", True),
        ("multipleBirth.ofType(integer) + 1", 3),
        ("multipleBirth.ofType(integer) / 4", Decimal("0.5")),
        ("multipleBirth.ofType(integer) >= 2 and birthDate = '1980-02'", True),
        ("multipleBirth.ofType(integer) - -1", 3),
        ("0.1 + 0.2", Decimal("0.3")),
        ("name[-1].use", None),
        ("name[-2].use", None),
        ("-7 div 2", -3),
        ("7.5 div 2", 3),
        ("7.5 mod 2", Decimal("1.5")),
        ("7 / 0", None),
        ("multipleBirth.ofType(integer) * 9223372036854775807", None),  # beyond what an integer holds
        ("9000000000000000000.0 * 10.0 div 0.5", None),
        ("name.where(use = 'none').given.join(',')", ""),
        ("gender = 'male'", None),
        ("(gender = 'male').not()", None),
        ("gender = 'male' or id = 'p1'", True),
        ("gender.exists() implies id = 'p2'", True),
        ("id.exists() xor gender.exists()", True),
        ("id + '/' + birthDate", "p1/1980-02"),
        ("gender & id", "p1"),
        (r"'it\'s'", "it's"),
        ("{}", None),
        ("true", True),
        ("@2024-01-02", "2024-01-02"),
        ("birthDate < @1990-01-01", None),  # a month has no order beside a day
        ("%resource.id", "p1"),
        ("id.ofType(string).exists() or id.ofType(id).exists()", True),
        ("iif(id = 'p1', name.first(), name.last()).use", "official"),
        ("iif(gender = 'male', birthDate, birthDate)", "1980-02"),
    ],
)
def test_a_path_gives_its_value(path: str, found: Any) -> None:
    assert one(path) == found


def test_a_decimal_comes_back_as_decimal_and_text_stays_text() -> None:
    assert one("value.ofType(Quantity).value", OBSERVATION) == Decimal("1.25")
    assert one("value.ofType(string)", OBSERVATION) is None


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("Patient/p1", "p1"),
        ("https://ehr.example/fhir/Patient/p1", "p1"),
        ("Patient/p1/_history/3", "p1"),
        ("https://ehr.example/fhir/Patient/p1/_history/3", "p1"),
        ("urn:uuid:58c297c4-d684-4677-8024-01131d93835e", "58c297c4-d684-4677-8024-01131d93835e"),
        ("urn:oid:1.2.3.4", "1.2.3.4"),
        ("Patient/p1#name", "p1"),
        ("Patient/", None),
        ("urn:", None),
        ("urn:uuid:58c297c4#name", "58c297c4"),
        ("https://ehr.example/fhir/Patient/p1/_history/3#name", "p1"),
        ("https://ehr.example/fhir/Patient?identifier=http://x/Patient/p2", None),
        ("Patient/p1?active=true", None),
        ("Group/p1", None),
        ("NotAPatient/p1", None),
        ("Patient?identifier=1", None),
        ("#contained", None),
        (None, None),
    ],
)
def test_a_reference_is_reduced_to_the_bare_id(reference: str | None, key: str | None) -> None:
    observation = {**OBSERVATION, "subject": {"reference": reference}}
    assert one("subject.getReferenceKey(Patient)", observation) == key


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("Group/g1/_history/2", "g1"),
        ("https://ehr.example/fhir/Device/d1", "d1"),
        ("urn:uuid:58c297c4", "58c297c4"),
        ("Location/l1#floor", "l1"),
        ("#contained", None),
        ("Patient?identifier=1", None),
    ],
)
def test_a_reference_of_any_type_keeps_its_id(reference: str, key: str | None) -> None:
    assert one("subject.getReferenceKey()", {**OBSERVATION, "subject": {"reference": reference}}) == key


def test_a_reference_by_identifier_alone_has_no_key() -> None:
    subject = {"identifier": {"system": "urn:mrn", "value": "77"}, "display": "Ada"}
    assert one("subject.getReferenceKey(Patient)", {**OBSERVATION, "subject": subject}) is None


def test_loops_within_loops_give_one_row_per_innermost_item() -> None:
    inner = {"forEach": "given", **columns(given="$this", place="%rowIndex")}
    found = rows(PATIENT, columns(id="id"), {"forEach": "name", **columns(use="use"), "select": [inner]})
    assert found == [
        {"id": "p1", "use": "official", "given": "A", "place": 0},
        {"id": "p1", "use": "official", "given": "B", "place": 1},
        {"id": "p1", "use": "old", "given": "C", "place": 0},
    ]


def test_loops_beside_loops_give_every_pair() -> None:
    found = rows(
        PATIENT,
        {"forEach": "name", **columns(use="use")},
        {"forEach": "name.given", **columns(given="$this")},
    )
    assert [(row["use"], row["given"]) for row in found] == [
        (use, given) for use in ("official", "old") for given in ("A", "B", "C")
    ]


def test_a_resource_and_its_components_are_rows_beside_each_other() -> None:
    union = {
        "unionAll": [
            columns(text="'whole'"),
            {"forEach": "component", **columns(text="code.text")},
        ]
    }
    assert [row["text"] for row in rows(OBSERVATION, union)] == ["whole", "one", "two"]
    bare = {"resourceType": "Observation", "id": "o2"}
    assert [row["text"] for row in rows(bare, union)] == ["whole"]


def test_resources_of_another_type_are_passed_over() -> None:
    view = {"resource": "Patient", "select": [columns(id="id")]}
    assert run_view(view, [OBSERVATION, PATIENT]) == [{"id": "p1"}]


def test_a_quote_in_a_value_or_a_constant_stays_text() -> None:
    patient = {**PATIENT, "name": [{"family": "O'Hara'); drop table line; --"}]}
    constant = [{"name": "who", "valueString": "O'Hara'); drop table line; --"}]
    found = rows(
        patient, columns(family="name.family.first()"), constant=constant, where=[{"path": "name.family = %who"}]
    )
    assert found == [{"family": "O'Hara'); drop table line; --"}]


@pytest.mark.parametrize(
    ("view", "path"),
    [
        ({}, "resource"),
        ({"resource": "Patiant", "select": [columns(id="id")]}, "resource"),
        ({"resource": "Patient"}, "select"),
        ({"resource": "Patient", "select": []}, "select"),
        ({"resource": "Patient", "select": ["id"]}, "select[0]"),
        ({"resource": "Patient", "select": [{}]}, "select[0]"),
        ({"resource": "Patient", "select": [{"columns": []}]}, "select[0].columns"),
        ({"resource": "Patient", "select": [{"column": {}}]}, "select[0].column"),
        ({"resource": "Patient", "select": [columns(**{"1a": "id"})]}, "select[0].column[0].name"),
        ({"resource": "Patient", "select": [{"column": [{"name": "a"}]}]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id", b="nam.family")]}, "select[0].column[1].path"),
        ({"resource": "Patient", "select": [columns(a="name")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="deceased")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="deceased = true")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="deceased.first()")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="deceased.ofType(Quantity)")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id.length()")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id > 3")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id * 3")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id and id")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id.not()")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="name['x'].family")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="name.join()")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id.getReferenceKey()")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="iif(true, id, active)")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="+id")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="-" * 5000 + "1")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id.")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="(id")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id)")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="'open")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="%none")]}, "select[0].column[0].path"),
        ({"resource": "Patient", "select": [columns(a="id"), columns(a="id")]}, "select"),
        ({"resource": "Patient", "select": [columns(problem="id")]}, "select"),
        ({"resource": "Patient", "select": [{"forEach": "deceased", **columns(a="id")}]}, "select[0].forEach"),
        (
            {"resource": "Patient", "select": [{"forEach": "name", "forEachOrNull": "name", **columns(a="use")}]},
            "select[0]",
        ),
        ({"resource": "Patient", "select": [columns(a="id")], "where": [{}]}, "where[0].path"),
        ({"resource": "Patient", "select": [columns(a="id")], "where": [{"path": "id"}]}, "where[0].path"),
        ({"resource": "Patient", "select": [columns(a="id")], "where": "id"}, "where"),
        ({"resource": "Patient", "select": [columns(a="id")], "constant": [{"name": "a"}]}, "constant[0]"),
        (
            {"resource": "Patient", "select": [{"unionAll": [columns(a="id"), columns(b="id")]}]},
            "select[0].unionAll[1]",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_place(view: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidView) as refused:
        run_view(view, [PATIENT])
    assert refused.value.path == path


def test_a_misspelt_element_names_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidView, match="did you mean birthDate"):
        compile_view({"resource": "Patient", "select": [columns(a="birthdate")]})


def test_more_values_than_a_column_can_hold_are_refused_not_cut() -> None:
    with pytest.raises(InvalidView, match="more than one value") as refused:
        one("name.given")
    assert refused.value.path == "select[0].column[0].path"
    many = {"column": [{"name": "given", "path": "name.given", "collection": True}]}
    assert rows(PATIENT, many) == [{"given": ["A", "B", "C"]}]


def test_an_instant_equals_itself_in_another_zone() -> None:
    observation = {**OBSERVATION, "issued": "2024-03-01T12:00:00Z"}
    constant = [{"name": "then", "valueInstant": "2024-03-01T06:00:00-06:00"}]
    assert rows(observation, columns(same="issued = %then"), constant=constant) == [{"same": True}]
