"""Resources as lines of a file, and the staged relation over them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from integrations.duck import connect
from integrations.fhir.staging import stage

Row = dict[str, Any]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path_factory.mktemp("spill")) as opened:
        yield opened


@pytest.fixture
def staged(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> Callable[..., list[Row]]:
    """`staged("patient", resource_or_bytes, ...)` gives the staged rows of these lines, in the order of the lines."""

    def rows(table: str, *lines: dict[str, Any] | bytes) -> list[Row]:
        file = tmp_path / "sent.ndjson"
        texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        file.write_bytes(b"\n".join(texts) + b"\n")
        found = connection.execute(f"select * from {stage(connection, table, [file])} order by record_line, 11, 12")
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    return rows
