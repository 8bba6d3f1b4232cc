"""Values of the wrong type, which DuckDB would read as null without a word.

A cheap condition in SQL picks the lines where that may have happened; only those are read a second time, by `misfit`.
"""

from functools import cache

import orjson

from integrations.fhir.sql_on_fhir.shape import Shape, Structure, opened

NOT_JSON = "not json"


def suspicions(shape: Shape, sql: str, path: str | None, depth: int = 1) -> list[str]:
    """Return conditions under which `sql`, read as `shape`, has lost or may have lost a value that was sent.

    DuckDB reads what should be an object and is not as an object of nulls, what should be a list as null, and what is
    absent as null. `path` is where the line can be asked whether a list was sent; null within a list.
    """
    found: list[str] = []
    for part in shape.parts.values():
        place, inner_path = f"{sql}.{part.name}", f"{path}.{part.name}" if path else None
        if part.is_deferred:
            found.append(_deferred(part, place, opened(sql, part), depth))
        elif part.is_whole:
            found.append(f"{place} is not null")
        elif part.is_list:
            found += [_not_a_list(place, inner_path), *_among(part, place, depth)]
        elif part.parts:
            conditions = [_all_null(part, place), *suspicions(part, place, inner_path, depth)]
            found.append(f"({place} is not null and ({' or '.join(conditions)}))")
        elif part.leaf == "number":
            found.append(f"({place} is not null and try_cast({place}::varchar as double) is null)")
    return found


def _deferred(part: Shape, text: str, place: str, depth: int) -> str:
    inner = _among(part, place, depth) if part.is_list else suspicions(part, place, None, depth)
    conditions = [f"not starts_with({text}, '{'[' if part.is_list else '{'}')", *inner]
    return f"({text} is not null and ({' or '.join(conditions)}))"


def _not_a_list(place: str, path: str | None) -> str:
    return f"({place} is null and json_type(raw, '{path}') <> 'NULL')" if path else f"({place} is null)"


def _all_null(part: Shape, place: str) -> str:
    return "(" + " and ".join(f"{place}.{inner.name} is null" for inner in part.parts.values()) + ")"


def _among(part: Shape, place: str, depth: int) -> list[str]:
    """What is suspicious of any item of a list of objects."""
    if not part.parts:
        return []
    item = f"part_{depth}"
    conditions = dict.fromkeys([_all_null(part, item), *suspicions(part, item, None, depth + 1)])
    return [f"len(list_filter({place}, lambda {item}: {' or '.join(conditions)})) > 0"]


def misfit(line: str | None, expected: str | None) -> str | None:
    """Return the path of the first value that is not of the type expected, or None when all are."""
    if line is None or expected is None:
        return None
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
