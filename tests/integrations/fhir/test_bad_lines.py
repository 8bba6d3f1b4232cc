"""Lines that cannot be used: each is found, named and kept in the account, and the lines beside it go on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from integrations.fhir.staging import own_view, stage
from integrations.tables import LOAD_ORDER

Staged = Callable[..., list[dict[str, Any]]]

LAB: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "meta": {"lastUpdated": "2024-03-01T10:20:00Z"},
    "status": "final",
    "category": [{"coding": [{"code": "laboratory"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "2160-0"}]},
    "subject": {"reference": "Patient/p1"},
    "encounter": {"reference": "Encounter/e1"},
    "effectiveDateTime": "2024-03-01T09:00:00-06:00",
    "issued": "2024-03-01T10:00:00.000-06:00",
    "valueQuantity": {"value": 1.2, "unit": "mg/dL", "code": "mg/dL"},
}
BYSTANDER = {**LAB, "id": "bystander"}


def without(resource: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key != name}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"resourceType":"Observation","id":"o1"', "not_json"),
        (b"not json", "not_json"),
        (b"null", "not_json"),
        (b"\xff\xfe{}", "not_json"),
        (b'{"id":"\x00"}', "not_json"),
        (b'{"resourceType":"Observation","id":"o1","code":"2160-0",}', "not_json"),
        (b"[1]", "wrong_type"),
        (b'"text"', "wrong_type"),
        (b"{}", "wrong_type"),
        (json.dumps({**LAB, "resourceType": "Patient"}).encode(), "wrong_type"),
        (json.dumps({**LAB, "resourceType": ["Observation"]}).encode(), "wrong_type"),
        (json.dumps(without(LAB, "id")).encode(), "missing_id"),
        (json.dumps({**LAB, "id": ""}).encode(), "missing_id"),
        (json.dumps({**LAB, "id": None}).encode(), "missing_id"),
    ],
)
def test_a_line_that_is_no_observation_is_one_row_with_its_problem(staged: Staged, line: bytes, problem: str) -> None:
    bad, good = staged("observation", line, BYSTANDER)
    assert (bad["record_line"], bad["problem"], bad["is_empty"]) == (1, problem, False)
    assert (good["problem"], good["observation_id"], good["value_number"]) == (None, "bystander", 1.2)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"valueQuantity": {"value": "high"}}, "valueQuantity.value"),
        ({"valueQuantity": {"value": "1.2"}}, "valueQuantity.value"),
        ({"valueQuantity": {"value": True}}, "valueQuantity.value"),
        ({"valueQuantity": {"value": {"a": 1}}}, "valueQuantity.value"),
        ({"valueQuantity": "1.2 mg/dL"}, "valueQuantity"),
        ({"valueQuantity": [1.2]}, "valueQuantity"),
        ({"code": "2160-0"}, "code"),
        ({"code": {"coding": {"code": "2160-0"}}}, "code.coding"),
        ({"code": {"coding": ["2160-0"]}}, "code.coding"),
        ({"category": "laboratory"}, "category"),
        ({"category": ["laboratory"]}, "category"),
        ({"category": [{"coding": {"code": "laboratory"}}]}, "category.coding"),
        ({"subject": "Patient/p1"}, "subject"),
        ({"encounter": ["Encounter/e1"]}, "encounter"),
        ({"meta": "2024"}, "meta"),
        ({"basedOn": {"reference": "ServiceRequest/1"}}, "basedOn"),
        ({"component": {"code": {}}}, "component"),
        ({"component": [1]}, "component"),
        ({"component": [{"code": {"coding": "a"}, "valueString": "x"}]}, "component.code.coding"),
        ({"component": [{"valueQuantity": {"value": "high"}}]}, "component.valueQuantity.value"),
        ({"status": "done"}, "status"),
        ({"valueQuantity": {"value": 1.2, "comparator": "~"}}, "valueQuantity.comparator"),
    ],
)
def test_a_value_of_the_wrong_type_is_found_and_its_place_named(
    staged: Staged, change: dict[str, Any], place: str
) -> None:
    rows = staged("observation", {**LAB, **change}, BYSTANDER)
    bad = [row for row in rows if row["record_line"] == 1]
    assert {(row["problem"], row["problem_detail"]) for row in bad} == {("bad_value", place)}
    assert [row["problem"] for row in rows if row["record_line"] == 2] == [None]


def test_a_refused_value_keeps_what_a_hold_needs(staged: Staged) -> None:
    (row,) = staged("observation", {**LAB, "valueQuantity": {"value": "high"}})
    assert (row["patient_id"], row["local_code"], row["effective_at"]) == ("p1", "2160-0", "2024-03-01T09:00:00-06:00")


@pytest.mark.parametrize("name", [name for name in LAB if name not in ("resourceType", "id")])
def test_what_is_absent_or_null_is_not_of_the_wrong_type(staged: Staged, name: str) -> None:
    absent, null = staged("observation", without(LAB, name), {**LAB, "id": "o2", name: None})
    assert (absent["problem"], null["problem"]) == (None, None)


def test_a_line_of_five_megabytes_is_read(staged: Staged) -> None:
    (row,) = staged("observation", {**LAB, "note": [{"text": "x" * 5_000_000}]})
    assert (row["problem"], row["value_number"]) == (None, 1.2)


def test_a_line_nested_deeply_is_read_or_refused_and_never_stops_the_rest(staged: Staged) -> None:
    deep = b'{"resourceType":"Observation","id":"deep","contained":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    rows = staged("observation", deep, BYSTANDER)
    assert [row["record_line"] for row in rows] == [1, 2]


@pytest.mark.parametrize("table", LOAD_ORDER)
def test_every_line_of_every_table_is_in_the_account(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, table: str
) -> None:
    kind = own_view(table)["resource"]
    good = json.dumps({"resourceType": kind, "id": "x1"})
    file = tmp_path / "sent.ndjson"
    file.write_bytes(
        b"\n".join(
            [good.encode(), b"", b"{", b'{"resourceType":"Group","id":"g"}', b'{"resourceType":"%s"}' % kind.encode()]
        )
    )
    rows = connection.execute(
        f"select record_line, problem, is_empty, out_of_scope_reason from {stage(connection, table, [file])} order by 1"
    ).fetchall()
    assert [(line, problem) for line, problem, _, _ in rows] == [
        (1, None),
        (3, "not_json"),
        (4, "wrong_type"),
        (5, "missing_id"),
    ]
    assert all(is_empty == (reason is not None) for _, _, is_empty, reason in rows)


@pytest.mark.parametrize("table", LOAD_ORDER)
def test_no_files_are_no_rows(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    assert connection.execute(f"select * from {stage(connection, table, [])}").fetchall() == []
