"""Run a view over resources in memory."""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from integrations.duck import connect
from integrations.fhir.sql_on_fhir.compiler import HEAD, compile_view
from integrations.fhir.sql_on_fhir.elements import NUMBERS
from integrations.fhir.sql_on_fhir.errors import InvalidView
from integrations.fhir.sql_on_fhir.misfit import define_macros
from integrations.fhir.sql_on_fhir.selection import Column
from integrations.fhir.sql_on_fhir.values import TOO_MANY


def run_view(view: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a ViewDefinition over FHIR resources; those of another type are passed over.

    JSON types: decimals as Decimal, whole numbers as int, dates and instants as the text sent. Raises InvalidView.
    """
    compiled = compile_view(view)
    lines = pa.table({"raw": pa.array([json.dumps(resource, default=float) for resource in resources], pa.string())})
    with tempfile.TemporaryDirectory() as temp, connect(Path(temp)) as connection:
        define_macros(connection)
        connection.register("resource_line", lines)
        connection.execute(
            "create temp view line as "
            "select 'memory' as record_file, row_number() over () as record_line, raw from resource_line"
        )
        sql = f"select * from ({compiled.sql}) where problem is null and not is_empty"
        rows = _rows(connection, sql)
    return [
        {column.name: _value(value, column) for column, value in zip(compiled.columns, row[len(HEAD) :], strict=True)}
        for row in rows
    ]


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(sql).fetchall()
    except duckdb.InvalidInputException as error:
        found = re.search(rf"(\S+) {TOO_MANY}", str(error))
        if found is None:
            raise
        to_do = "take one by first(), or all by collection: true"
        raise InvalidView("more than one value where one is expected", path=found.group(1), to_do=to_do) from None


def _value(value: Any, column: Column) -> Any:
    if isinstance(value, list):
        return [_value(item, column) for item in value]
    if column.type == "decimal" and value is not None:
        return Decimal(value)
    return int(value) if column.type in NUMBERS and isinstance(value, str) else value
