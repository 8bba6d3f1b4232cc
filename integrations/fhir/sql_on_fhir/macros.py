"""What compiled views call: the macros of macros.sql, and two functions that SQL cannot write."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
from duckdb.func import FunctionNullHandling

from integrations.fhir.sql_on_fhir.misfit import misfit

LAST_MACRO = "numbers_as_text(null)"  # of macros.sql: where it is known, all are


def define_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the macros and `repeated` known to a connection."""
    if not _is_known(connection, LAST_MACRO):
        connection.execute((Path(__file__).parent / "macros.sql").read_text(encoding="utf-8"))
    if not _is_known(connection, "repeated(null, null)"):
        _define(connection, "repeated", repeated)


def define_misfit(connection: duckdb.DuckDBPyConnection) -> None:
    """Make misfit(line, expected) known to a connection, for views that are checked."""
    if not _is_known(connection, "misfit(null, null)"):
        _define(connection, "misfit", misfit)


def repeated(element: str | None, paths: str | None) -> str | None:
    """Return all that `paths` lead to from an element, and from each of those again, as one JSON list.

    Depth first, so that what is within an item follows it. `paths`: a JSON list of lists of names.
    """
    if element is None or paths is None:
        return None
    steps = orjson.loads(paths)
    found: list[Any] = []
    waiting = list(_reached(orjson.loads(element), steps))[::-1]
    while waiting:
        found.append(waiting.pop())
        waiting += list(_reached(found[-1], steps))[::-1]
    return orjson.dumps(found).decode()


def _reached(element: Any, paths: list[list[str]]) -> Iterator[Any]:
    for path in paths:
        items = [element]
        for name in path:
            inner = [item[name] for item in items if isinstance(item, dict) and item.get(name) is not None]
            items = [one for each in inner for one in (each if isinstance(each, list) else [each])]
        yield from items


def _is_known(connection: duckdb.DuckDBPyConnection, call: str) -> bool:
    try:
        connection.execute(f"select {call}").fetchall()
    except duckdb.CatalogException:
        return False
    return True


def _define(connection: duckdb.DuckDBPyConnection, name: str, function: Any) -> None:
    connection.create_function(
        name, function, ["VARCHAR", "VARCHAR"], "VARCHAR", null_handling=FunctionNullHandling.SPECIAL
    )
