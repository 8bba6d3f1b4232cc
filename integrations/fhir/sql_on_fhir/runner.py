"""Run a view: over resources in memory, or over the lines of files."""

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa

from integrations.duck import connect, lock
from integrations.errors import NotInOrder
from integrations.fhir.sql_on_fhir.compiler import HEAD, CompiledView, compile_view
from integrations.fhir.sql_on_fhir.elements import NUMBERS
from integrations.fhir.sql_on_fhir.errors import InvalidView
from integrations.fhir.sql_on_fhir.macros import define_macros
from integrations.fhir.sql_on_fhir.selection import Column
from integrations.fhir.sql_on_fhir.values import TOO_MANY

Row = dict[str, Any]
BATCH_ROWS = 10_000
PASSED_OVER = ("wrong_type",)  # a problem of a feed, but not of a file that holds several types


def run_view(view: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of a ViewDefinition over FHIR resources; those of another type are passed over.

    JSON types: decimals as Decimal, whole numbers as int, dates and instants as the text sent. Raises InvalidView.
    """
    compiled = compile_view(view)
    raw = pa.array([_line(resource) for resource in resources], pa.string())
    numbers = pa.array(range(1, len(raw) + 1), pa.int64())
    lines = pa.table({"record_file": pa.repeat(pa.scalar("memory"), len(raw)), "record_line": numbers, "raw": raw})
    return [row for batch, _ in view_batches(compiled, lines) for row in batch]


def view_batches(compiled: CompiledView, lines: object) -> Iterator[tuple[list[Row], set[tuple[str, int]]]]:
    """Yield the rows of a view in batches, each with the places (file, line) that could not be read in it.

    `lines`: anything that Arrow can stream, with record_file, record_line and raw. Raises InvalidView.
    """
    with tempfile.TemporaryDirectory() as temp, connect(Path(temp)) as connection:
        define_macros(connection)
        lock(connection, Path(temp))
        connection.register("line", lines)
        with _one_value_each():
            found = connection.execute(compiled.sql)
            while rows := found.fetchmany(BATCH_ROWS):
                unread = {(row[0], row[1]) for row in rows if row[2] is not None and row[2] not in PASSED_OVER}
                found_rows: list[Row] = []
                for row in rows:
                    if row[2] is None and not row[4]:
                        try:
                            found_rows.append(_row(compiled, row))
                        except (InvalidOperation, ValueError):  # a number that is none
                            unread.add((row[0], row[1]))
                yield found_rows, unread


def _line(resource: Mapping[str, Any]) -> str:
    return orjson.dumps(resource, default=digits).decode()


def digits(value: object) -> orjson.Fragment:
    """A decimal in JSON keeps the digits it was written with: 1.0 and 1.00 have other boundaries."""
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} is no value of a resource")


@contextmanager
def _one_value_each() -> Iterator[None]:
    try:
        yield
    except duckdb.InvalidInputException as error:
        found = re.search(rf"(\S+) {TOO_MANY}", str(error))
        if "Recursion limit" in str(error):
            raise NotInOrder(
                "items lie too deep within each other", where="repeat", to_do="leave the file out"
            ) from None
        if found is None:
            raise
        to_do = "take one by first(), or all by collection: true"
        raise InvalidView("more than one value where one is expected", path=found.group(1), to_do=to_do) from None


def _row(compiled: CompiledView, row: tuple[Any, ...]) -> Row:
    values = zip(compiled.columns, row[len(HEAD) :], strict=True)
    return {column.name: _value(value, column) for column, value in values}


def _value(value: Any, column: Column) -> Any:
    if isinstance(value, list):
        return [_value(item, column) for item in value]
    if column.type == "decimal" and value is not None:
        return Decimal(value)
    return int(value) if column.type in NUMBERS and isinstance(value, str) else value
