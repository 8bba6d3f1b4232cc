"""The official tests of SQL-on-FHIR v2, as far as they lie beside this checkout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integrations.fhir.sql_on_fhir import InvalidView, run_view

FILES = (
    "basic",
    "constant",
    "constant_types",
    "fhirpath",
    "fn_extension",
    "fn_reference_keys",
    "foreach",
    "logic",
    "union",
    "validate",
    "where",
)
NOT_YET_SUPPORTED: dict[str, set[str]] = {}  # file -> titles
TESTS_IN_ALL = 88


def in_any_order(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=float) for row in rows)


def outcome(test: dict[str, Any], resources: list[dict[str, Any]]) -> str:
    try:
        rows = run_view(test["view"], resources)
    except InvalidView as error:
        return "passed" if test.get("expectError") else f"refused: {error}"
    if test.get("expectError"):
        return "should have been refused"
    if "expectColumns" in test and list(rows[0]) != test["expectColumns"]:
        return f"columns {list(rows[0])}"
    return "passed" if in_any_order(rows) == in_any_order(test["expect"]) else f"gave {rows}"


@pytest.mark.parametrize("name", FILES)
def test_an_official_file_passes_but_for_what_is_listed(name: str, needs_shared: Callable[[str], Path]) -> None:
    suite = json.loads((needs_shared("data/sql_on_fhir") / f"{name}.json").read_text(encoding="utf-8"))
    outcomes = {test["title"]: outcome(test, suite["resources"]) for test in suite["tests"]}
    failed = {title: found for title, found in outcomes.items() if found != "passed"}
    assert set(failed) == NOT_YET_SUPPORTED.get(name, set()), failed


def test_no_official_test_is_left_out(needs_shared: Callable[[str], Path]) -> None:
    files = [needs_shared("data/sql_on_fhir") / f"{name}.json" for name in FILES]
    count = sum(len(json.loads(file.read_text(encoding="utf-8"))["tests"]) for file in files)
    assert count == TESTS_IN_ALL
    assert sum(map(len, NOT_YET_SUPPORTED.values())) == 0
