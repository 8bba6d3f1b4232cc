"""The select tree of a ViewDefinition as alternatives: each a chain of loops and the columns within them.

`unionAll` adds alternatives, selects beside each other multiply them, `forEach` puts a loop around them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from integrations.fhir.sql_on_fhir.elements import WHOLE_NUMBERS
from integrations.fhir.sql_on_fhir.errors import InvalidView
from integrations.fhir.sql_on_fhir.expressions import Scope, compiled
from integrations.fhir.sql_on_fhir.fhirpath import PathError, parse
from integrations.fhir.sql_on_fhir.repeat import repeat
from integrations.fhir.sql_on_fhir.values import Value, single

SELECT_KEYS = {
    "column",
    "select",
    "forEach",
    "forEachOrNull",
    "repeat",
    "unionAll",
    "extension",
    "id",
    "modifierExtension",
}


@dataclass(frozen=True)
class Loop:
    """One forEach: the variable that each item goes by, and the list."""

    variable: str
    items: str


@dataclass(frozen=True)
class Column:
    """One column: its name, its SQL, its FHIR type, and whether it holds a list."""

    name: str
    sql: str
    type: str
    is_list: bool


@dataclass(frozen=True)
class Alternative:
    """Rows of one shape: loops from the outside in, and what stands in each row."""

    loops: tuple[Loop, ...] = ()
    columns: tuple[Column, ...] = ()

    def beside(self, other: "Alternative") -> "Alternative":
        return Alternative((*self.loops, *other.loops), (*self.columns, *other.columns))


def alternatives(select: Mapping[str, Any], scope: Scope, path: str) -> list[Alternative]:
    """Return what one select yields. Raises InvalidView with the path of a mistake."""
    _check_keys(select, path)
    loops, scope = _loops(select, scope, path)
    columns = tuple(
        _column(item, scope, f"{path}.column[{at}]") for at, item in enumerate(_list(select, "column", path))
    )
    groups = [[Alternative((), columns)]]
    for at, inner in enumerate(_list(select, "select", path)):
        groups.append(alternatives(inner, scope, f"{path}.select[{at}]"))
    if "unionAll" in select:
        groups.append(_union(select, scope, path))
    return [Alternative((*loops, *one.loops), one.columns) for one in beside(groups)]


def beside(groups: list[list[Alternative]]) -> list[Alternative]:
    """Return every combination of alternatives that stand beside each other."""
    combined = []
    for chosen in product(*groups):
        whole = Alternative()
        for one in chosen:
            whole = whole.beside(one)
        combined.append(whole)
    return combined


def _union(select: Mapping[str, Any], scope: Scope, path: str) -> list[Alternative]:
    found: list[Alternative] = []
    for at, branch in enumerate(_list(select, "unionAll", path)):
        place = f"{path}.unionAll[{at}]"
        for one in alternatives(branch, scope, place):
            if found and [c.name for c in one.columns] != [c.name for c in found[0].columns]:
                raise InvalidView("the branches of a unionAll need the same columns in the same order", path=place)
            found.append(one)
    return found


def _loops(select: Mapping[str, Any], scope: Scope, path: str) -> tuple[tuple[Loop, ...], Scope]:
    keys = [key for key in ("forEach", "forEachOrNull", "repeat") if key in select]
    if not keys:
        return (), scope
    if len(keys) > 1:
        raise InvalidView(f"{keys[0]} and {keys[1]} exclude each other", path=path)
    place = f"{path}.{keys[0]}"
    if keys[0] == "repeat":
        items = repeat(_list(select, "repeat", path), scope, place)
    else:
        items = value_at(select[keys[0]], scope, place)
    if items.choice:
        raise InvalidView(f"{items.choice}[x] may be of several types", path=place, to_do="choose one by ofType()")
    variable = scope.names.new("each")
    listed = items.as_list
    if keys[0] == "forEachOrNull":
        listed = f"coalesce(nullif({listed}, []), [null])"
    return (Loop(variable, listed),), replace(scope, this=replace(items, sql=variable, is_list=False), loop=variable)


def _column(item: Mapping[str, Any], scope: Scope, path: str) -> Column:
    name = item.get("name") if isinstance(item, Mapping) else None
    if not isinstance(name, str) or not name.replace("_", "a").isalnum() or not name[0].isalpha():
        raise InvalidView("a column needs a name of letters, digits and underscores", path=f"{path}.name")
    value = value_at(item.get("path"), scope, f"{path}.path")
    if value.choice:
        raise InvalidView(
            f"{value.choice}[x] may be of several types", path=f"{path}.path", to_do="choose one by ofType()"
        )
    if value.shape is not None and value.type[:1].isupper():
        raise InvalidView(f"a column holds one value, {value.type} has several", path=f"{path}.path")
    if item.get("collection"):
        return Column(name, f"coalesce({value.as_list}, [])", value.type, True)
    sql = single(value, f"{path}.path")
    if value.is_number_in_json and value.type in WHOLE_NUMBERS:
        sql = f"try_cast({sql}::varchar as bigint)"
    elif value.type == "decimal":
        sql = f"{sql}::varchar"
    return Column(name, sql, value.type, False)


def value_at(text: object, scope: Scope, path: str) -> Value:
    """Return the SQL of a FHIRPath that stands at `path` of the view."""
    if not isinstance(text, str) or not text.strip():
        raise InvalidView("a FHIRPath is needed here", path=path)
    try:
        return compiled(parse(text), scope)
    except PathError as error:
        raise InvalidView(str(error), path=path) from None


def _list(select: Mapping[str, Any], key: str, path: str) -> list[Any]:
    value = select.get(key, [])
    if not isinstance(value, list):
        raise InvalidView(f"{key} is a list", path=f"{path}.{key}")
    return value


def _check_keys(select: object, path: str) -> None:
    if not isinstance(select, Mapping):
        raise InvalidView("a select is an object", path=path)
    for key in select:
        if key not in SELECT_KEYS:
            raise InvalidView(
                f"{key} is not known here", path=f"{path}.{key}", to_do=f"known: {', '.join(sorted(SELECT_KEYS))}"
            )
    if not {"column", "select", "unionAll"} & set(select):
        raise InvalidView("a select needs column, select or unionAll", path=path)
