"""lowBoundary() and highBoundary(): between what a value lies that was written with so many digits."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from integrations.fhir.sql_on_fhir import InvalidView, compile_view, run_view
from integrations.fhir.sql_on_fhir.runner import view_batches

QUANTITY, MOMENT, TIME = "value.ofType(Quantity).value", "effective.ofType(dateTime)", "value.ofType(time)"


def boundaries(path: str, resource: dict[str, Any]) -> tuple[Any, Any]:
    columns = [{"name": side, "path": f"{path}.{side}Boundary()"} for side in ("low", "high")]
    view = {"resource": resource["resourceType"], "select": [{"column": columns}]}
    [row] = run_view(view, [resource])
    return row["low"], row["high"]


def observation(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "o1", **elements}


@pytest.mark.parametrize(
    ("written", "low", "high"),
    [
        ("1.0", "0.95", "1.05"),
        ("1.50", "1.495", "1.505"),
        ("1.5", "1.45", "1.55"),
        ("7", "6.5", "7.5"),
        ("0", "-0.5", "0.5"),
        ("-2.30", "-2.305", "-2.295"),
        ("0.000120", "0.0001195", "0.0001205"),
        ("1E+2", "50", "150"),
    ],
)
def test_a_decimal_lies_within_half_a_unit_of_its_last_digit(written: str, low: str, high: str) -> None:
    value = observation(valueQuantity={"value": Decimal(written), "unit": 'a "1.50" \\ 2.0'})
    assert boundaries(QUANTITY, value) == (Decimal(low), Decimal(high))


def test_the_digits_of_one_number_leave_other_values_as_they_are() -> None:
    columns = {
        "low": f"{QUANTITY}.lowBoundary()",
        "value": QUANTITY,
        "unit": "value.ofType(Quantity).unit",
        "more": f"{QUANTITY} + 1",
    }
    view = {"resource": "Observation", "select": [{"column": [{"name": n, "path": p} for n, p in columns.items()]}]}
    unit = 'of "2.50" and \\"3.0\\" 4'
    [row] = run_view(view, [observation(valueQuantity={"value": Decimal("1.50"), "unit": unit})])
    assert row == {"low": Decimal("1.495"), "value": Decimal("1.50"), "unit": unit, "more": Decimal("2.5")}


@pytest.mark.parametrize(
    ("written", "low", "high"),
    [("1970", "1970-01-01", "1970-12-31"), ("2024-02", "2024-02-01", "2024-02-29"), ("2024-02-03",) * 3],
)
def test_a_date_reaches_from_its_first_to_its_last_day(written: str, low: str, high: str) -> None:
    assert boundaries("birthDate", {"resourceType": "Patient", "id": "p1", "birthDate": written}) == (low, high)


@pytest.mark.parametrize(
    ("written", "low", "high"),
    [
        ("2010", "2010-01-01T00:00:00.000+14:00", "2010-12-31T23:59:59.999-12:00"),
        ("2010-10-10", "2010-10-10T00:00:00.000+14:00", "2010-10-10T23:59:59.999-12:00"),
        ("2010-10-10T10:20Z", "2010-10-10T10:20:00.000Z", "2010-10-10T10:20:59.999Z"),
        ("2010-10-10T10:20:30+01:00", "2010-10-10T10:20:30.000+01:00", "2010-10-10T10:20:30.999+01:00"),
        ("2010-10-10T10:20:30.5Z", "2010-10-10T10:20:30.500Z", "2010-10-10T10:20:30.599Z"),
        ("2010-10-10T10:20:30", "2010-10-10T10:20:30.000+14:00", "2010-10-10T10:20:30.999-12:00"),
    ],
)
def test_a_moment_reaches_over_all_that_it_leaves_open(written: str, low: str, high: str) -> None:
    assert boundaries(MOMENT, observation(effectiveDateTime=written)) == (low, high)


@pytest.mark.parametrize(
    ("written", "low", "high"),
    [("12:34", "12:34:00.000", "12:34:59.999"), ("12:34:56", "12:34:56.000", "12:34:56.999")],
)
def test_a_time_reaches_to_its_last_millisecond(written: str, low: str, high: str) -> None:
    assert boundaries(TIME, observation(valueTime=written)) == (low, high)


@pytest.mark.parametrize("value", ["abc", Decimal("1E+99999")])
def test_a_number_that_is_none_has_no_boundary(value: object) -> None:
    assert boundaries(QUANTITY, observation(valueQuantity={"value": value})) == (None, None)


def test_a_line_that_is_no_json_stays_none_where_numbers_are_read_as_text() -> None:
    line = '{"resourceType":"Observation","id":"o1","valueQuantity":{"value":1.2.3}}'
    view = compile_view(
        {"resource": "Observation", "select": [{"column": [{"name": "a", "path": f"{QUANTITY}.lowBoundary()"}]}]}
    )
    lines = pa.table({"record_file": ["sent"], "record_line": pa.array([1], pa.int64()), "raw": [line]})
    assert list(view_batches(view, lines)) == [([], {("sent", 1)})]


def test_what_is_absent_has_no_boundary() -> None:
    assert [boundaries(path, observation()) for path in (QUANTITY, MOMENT, TIME)] == [(None, None)] * 3


@pytest.mark.parametrize("path", ["status", "subject", "value"])
def test_what_has_no_precision_is_refused(path: str) -> None:
    with pytest.raises(InvalidView, match=r"lowBoundary|ofType"):
        boundaries(path, observation())
