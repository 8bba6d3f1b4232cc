"""The second look at a line that may hold a value of the wrong type."""

import json
from typing import Any

import pytest

from integrations.fhir.sql_on_fhir.misfit import NOT_JSON, misfit

EXPECTED = {"id": "text", "active": "boolean", "name": [{"family": "text", "rank": "number"}], "photo": "any"}


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({}, None),
        ({"id": "p1", "active": True, "name": [{"family": "A", "rank": 1.5}, {}], "photo": 5, "more": []}, None),
        ({"id": None, "active": None, "name": [None], "photo": None}, None),
        ({"id": 5}, "id"),
        ({"active": "true"}, "active"),
        ({"name": {"family": "A"}}, "name"),
        ({"name": ["A"]}, "name"),
        ({"name": [{"family": "A"}, {"family": ["B"]}]}, "name.family"),
        ({"name": [{"rank": True}]}, "name.rank"),
        ({"name": [{"rank": "1"}]}, "name.rank"),
        (["p1"], ""),
    ],
)
def test_the_first_value_of_the_wrong_type_is_named(resource: Any, place: str | None) -> None:
    assert misfit(json.dumps(resource), json.dumps(EXPECTED)) == place


def test_a_line_that_is_read_leniently_elsewhere_is_no_json_here() -> None:
    assert misfit("{,}", json.dumps(EXPECTED)) == NOT_JSON
    assert misfit(None, None) is None
