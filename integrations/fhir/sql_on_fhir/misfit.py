"""Values of the wrong type, which DuckDB would read as null without a word.

A cheap condition in SQL picks the lines where that may have happened; only those are read a second time, by `misfit`.
"""

from functools import cache
from pathlib import Path

import duckdb
import orjson
from duckdb.func import FunctionNullHandling

from integrations.fhir.sql_on_fhir.shape import Shape, Structure, opened

NOT_JSON = "not json"


def suspicions(shape: Shape, sql: str, path: str | None, depth: int = 1) -> list[str]:
    """Return conditions under which `sql`, read as `shape`, has lost or may have lost a value that was sent.

    An object or list that reads as null is absent or of the wrong type; `path` is where the line may be asked, null
    within a list. Of a choice (`value[x]`) one member at most is present: it is looked at when all are null.
    """
    found: list[str] = []
    choices: dict[str, list[Shape]] = {}
    for part in shape.parts.values():
        place, inner_path = f"{sql}.{part.name}", f"{path}.{part.name}" if path else None
        if part.choice:
            choices.setdefault(part.choice, []).append(part)
        elif (part.is_list or part.parts) and not part.is_deferred:
            found.append(f"({place} is null{_is_sent([inner_path])})")
        if part.is_deferred:
            found.append(_deferred(part, place, opened(sql, part), depth))
        else:
            found += _inside(part, place, inner_path, depth)
    return found + [_choice(members, sql, path) for members in choices.values() if any(map(_is_read, members))]


def _deferred(part: Shape, text: str, place: str, depth: int) -> str:
    first = "[" if part.is_list else "{"
    conditions = [f"not starts_with({text}, '{first}')", *(_inside(part, place, None, depth) if part.parts else [])]
    return f"({text} is not null and ({' or '.join(conditions)}))"


def _choice(members: list[Shape], sql: str, path: str | None) -> str:
    nulls = " and ".join(f"{sql}.{one.name} is null" for one in members)
    return f"({nulls}{_is_sent([f'{path}.{one.name}' if path else None for one in members if _is_read(one)])})"


def _is_read(part: Shape) -> bool:
    """Tell whether a part is read as a structure at once, so that one of the wrong type reads as null."""
    return bool(part.parts) and not part.is_deferred


def _is_sent(paths: list[str | None]) -> str:
    if None in paths:
        return ""
    return " and (" + " or ".join(f"json_type(raw, '{path}') <> 'NULL'" for path in paths) + ")"


def _inside(part: Shape, place: str, path: str | None, depth: int) -> list[str]:
    if part.is_list:
        inner = suspicions(part, f"part_{depth}", None, depth + 1)
        among = [f"len([1 for part_{depth} in {place} if {' or '.join(inner)}]) > 0"] if inner else []
        return [f"list_count({place}) <> len({place})", *among]
    if part.parts:
        inner = suspicions(part, place, path, depth)
        return [f"({place} is not null and ({' or '.join(inner)}))"] if inner else []
    if part.leaf == "number":
        return [f"({place} is not null and try_cast({place}::varchar as double) is null)"]
    return []


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make known to a connection what compiled views call: the macros and misfit(line, expected)."""
    connection.execute((Path(__file__).parent / "macros.sql").read_text(encoding="utf-8"))
    known = connection.execute("select 1 from duckdb_functions() where function_name = 'misfit'").fetchall()
    if not known:
        special = FunctionNullHandling.SPECIAL
        connection.create_function("misfit", misfit, ["VARCHAR", "VARCHAR"], "VARCHAR", null_handling=special)


def misfit(line: str, expected: str) -> str | None:
    """Return the path of the first value that is not of the type expected, or None when all are."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return NOT_JSON
    return _first(value, _parsed(expected), "")


@cache
def _parsed(expected: str) -> Structure:
    parsed: Structure = orjson.loads(expected)
    return parsed


def _first(value: object, expected: Structure, path: str) -> str | None:
    if value is None or expected == "any":
        return None
    if isinstance(expected, list):
        if not isinstance(value, list):
            return path
        inner = (_first(item, expected[0], path) for item in value)
    elif isinstance(expected, dict):
        if not isinstance(value, dict):
            return path
        inner = (_first(value.get(name), part, f"{path}.{name}".strip(".")) for name, part in expected.items())
    else:
        return None if _fits(value, expected) else path
    return next((found for found in inner if found is not None), None)


def _fits(value: object, leaf: str) -> bool:
    if leaf == "boolean":
        return isinstance(value, bool)
    if leaf == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)
