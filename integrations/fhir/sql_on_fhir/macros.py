"""What compiled views call: the macros of macros.sql, and the functions that SQL cannot write."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import orjson
from duckdb.func import FunctionNullHandling

from integrations.fhir.sql_on_fhir.misfit import misfit

LAST_MACRO = "numbers_as_text(null)"  # of macros.sql: where it is known, all are
NUMBER = "_number"  # of an item, in what `numbered` gives; FHIR has no such element


def define_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the macros, and what follows a repeat, known to a connection."""
    if not _is_known(connection, LAST_MACRO):
        connection.execute((Path(__file__).parent / "macros.sql").read_text(encoding="utf-8"))
    if not _is_known(connection, "repeated(null, null)"):
        _define(connection, "repeated", repeated)
        _define(connection, "numbered", numbered)
        _define(connection, "followed", followed, ["BIGINT[]", "BIGINT[][]"], "BIGINT[]")


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
    return orjson.dumps(_within(orjson.loads(element), orjson.loads(paths))).decode()


def numbered(element: str | None, paths: str | None) -> str | None:
    """Return {"start": the element, "items": what `repeated` gives}, each item with its place among them as NUMBER."""
    if element is None or paths is None:
        return None
    start = orjson.loads(element)
    items = [item for item in _within(start, orjson.loads(paths)) if isinstance(item, dict)]
    for place, item in enumerate(items):
        item[NUMBER] = place
    return orjson.dumps({"start": start, "items": items}).decode()


def followed(chosen: list[int] | None, onward: list[list[int]] | None) -> list[int] | None:
    """Return the numbers of all items reached from the chosen ones, depth first. `onward`: where each number leads."""
    if chosen is None or onward is None:
        return None
    found: list[int] = []
    waiting = chosen[::-1]
    while waiting:
        found.append(waiting.pop())
        waiting += onward[found[-1]][::-1]
    return found


def _within(element: Any, paths: list[list[str]]) -> list[Any]:
    found: list[Any] = []
    waiting = list(_reached(element, paths))[::-1]
    while waiting:
        found.append(waiting.pop())
        waiting += list(_reached(found[-1], paths))[::-1]
    return found


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


def _define(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    function: Any,
    arguments: Sequence[str] = ("VARCHAR", "VARCHAR"),
    result: str = "VARCHAR",
) -> None:
    connection.create_function(name, function, [*arguments], result, null_handling=FunctionNullHandling.SPECIAL)
