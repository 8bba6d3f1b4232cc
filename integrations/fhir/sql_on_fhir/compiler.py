"""From a ViewDefinition to one DuckDB query over the relation `line` (record_file, record_line, raw).

Every line is accounted for: it appears at least once, with its problem, or with `is_empty` where the view yields no row
of it. The steps of the query are named for what they hold: parsed, opened, judged, settled, placed, spread.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from integrations.duck import quoted
from integrations.fhir.sql_on_fhir.columns import Columns, spread, unspread
from integrations.fhir.sql_on_fhir.elements import NUMBERS, WHOLE_NUMBERS, is_resource
from integrations.fhir.sql_on_fhir.errors import InvalidView
from integrations.fhir.sql_on_fhir.expressions import Scope, condition
from integrations.fhir.sql_on_fhir.fhirpath import PathError, parse
from integrations.fhir.sql_on_fhir.misfit import NOT_JSON, suspicions
from integrations.fhir.sql_on_fhir.selection import Alternative, Column, alternatives, beside
from integrations.fhir.sql_on_fhir.shape import Shape, Structure, opened
from integrations.fhir.sql_on_fhir.spread import is_spread, last_step, spread_steps
from integrations.fhir.sql_on_fhir.values import Names, Value

HEAD = ("record_file", "record_line", "problem", "problem_detail", "is_empty")
CONSTANT_TYPE = re.compile(r"value([A-Z]\w*)")


@dataclass(frozen=True)
class CompiledView:
    """A view as SQL: `sql` selects HEAD and then `columns` from the relation `line`; `elements`: what it reads.

    Of a checked view also `sound_sql`, over lines that DuckDB has read as `structure`: it raises at the first line that
    `sql` would look at twice or find a problem in.
    """

    sql: str
    columns: tuple[Column, ...]
    elements: tuple[str, ...]
    sound_sql: str | None = None
    structure: Structure = ""


def compile_view(view: Mapping[str, Any], *, lines: str = "line", is_checked: bool = False) -> CompiledView:
    """Compile a ViewDefinition to SQL over the relation `lines`. Raises InvalidView.

    `is_checked`: a missing id, a value of the wrong type and a line with is_beyond_limits are problems (this needs
    `define_misfit`, and that column).
    """
    resource_type = view.get("resource")
    if not isinstance(resource_type, str) or not is_resource(resource_type):
        raise InvalidView("a view names one type of FHIR R4 resource", path="resource")
    root = Shape("resource", resource_type, is_root=True)
    rows: list[Alternative] = []
    wheres: list[str] = []
    for _ in range(2):  # the first pass finds which elements are read, the second writes them
        scope = _scope(view, root)
        rows = beside([alternatives(one, scope, f"select[{at}]") for at, one in enumerate(_selects(view))])
        wheres = _wheres(view, scope)
    _refuse_doubles(rows[0].columns)
    sql = _query(lines, root, rows, wheres, is_checked)
    sound_sql = None
    if is_checked and not root.keeps_digits:
        sound_sql = _query(f"sound_{lines}", root, rows, wheres, is_checked, is_sound=True)
    return CompiledView(sql, rows[0].columns, tuple(root.parts), sound_sql, root.structure)


def _scope(view: Mapping[str, Any], root: Shape) -> Scope:
    resource = Value("resource", root.type, shape=root)
    constants = {}
    for at, constant in enumerate(_objects(view, "constant")):
        name, value = _constant(constant, f"constant[{at}]")
        constants[name] = value
    return Scope(this=resource, resource=resource, constants=constants, names=Names())


def _constant(constant: Mapping[str, Any], path: str) -> tuple[str, Value]:
    name = constant.get("name")
    values = [(match.group(1), constant[key]) for key in constant if (match := CONSTANT_TYPE.fullmatch(key))]
    if not isinstance(name, str) or len(values) != 1:
        raise InvalidView("a constant has a name and one value[x]", path=path)
    kind, value = values[0][0][0].lower() + values[0][0][1:], values[0][1]
    if kind == "boolean":
        return name, Value("true" if value else "false", "boolean")
    if kind in NUMBERS:
        number = Decimal(str(value))
        return name, Value(str(int(number)) if kind in WHOLE_NUMBERS else f"{number}::double", kind)
    return name, Value(quoted(str(value)), "string" if kind in ("code", "id", "uri") else kind)


def _objects(view: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = view.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise InvalidView(f"{key} is a list of objects", path=key)
    return found


def _selects(view: Mapping[str, Any]) -> list[Any]:
    selects = view.get("select")
    if not isinstance(selects, list) or not selects:
        raise InvalidView("a view needs at least one select", path="select")
    return selects


def _wheres(view: Mapping[str, Any], scope: Scope) -> list[str]:
    found = []
    for at, where in enumerate(_objects(view, "where")):
        path = f"where[{at}].path"
        text = where.get("path")
        if not isinstance(text, str):
            raise InvalidView("a where needs a path", path=path)
        try:
            found.append(condition(parse(text), scope))
        except PathError as error:
            raise InvalidView(str(error), path=path) from None
    return found


def _refuse_doubles(columns: tuple[Column, ...]) -> None:
    seen: set[str] = set()
    for column in columns:
        if column.name in seen or column.name in HEAD:
            raise InvalidView(f"two columns are named {column.name}", path="select")
        seen.add(column.name)


def _query(
    lines: str, root: Shape, rows: list[Alternative], wheres: list[str], is_checked: bool, *, is_sound: bool = False
) -> str:
    _use_head(root)
    parsed = f"parsed as (\n    from {lines}\n)" if is_sound else _parsed(lines, root, is_checked)
    steps = [parsed, _opened(root), _judged(root, is_checked, is_sound=is_sound)]
    is_kept = " and ".join(f"coalesce({where}, false)" for where in wheres)
    if is_spread(rows):
        columns = spread(rows)
        steps += [_settled(columns), *spread_steps(rows, is_kept)]
        is_empty = "problem is null and is_rowless"
    else:
        columns = unspread(rows[0])
        is_empty = f"problem is null and not ({is_kept})" if is_kept else "false"
    head = f"record_file,\n    record_line,\n    problem,\n    problem_detail,\n    {is_empty} as is_empty"
    late = "".join(f',\n    {sql} as "{name}"' for name, sql in columns.late)
    return f"with {', '.join(steps)}\nselect\n    {head}{late}\nfrom {last_step(rows)}"


def _settled(columns: Columns) -> str:
    early = "".join(f",\n        {sql} as {name}" for name, sql in columns.early)
    return f"settled as (\n    select *{early}\n    from judged\n)"


def _use_head(root: Shape) -> None:
    root.parts.setdefault("resourceType", Shape("resourceType", "code"))
    root.parts.setdefault("id", Shape("id", "id"))


def _parsed(lines: str, root: Shape, is_checked: bool) -> str:
    raw = "numbers_as_text(raw)" if root.keeps_digits else "raw"
    head = "record_file, record_line, raw" + (", is_beyond_limits" if is_checked else "")
    return (
        "parsed as (\n"
        f"    select {head}, try(from_json({raw},\n"
        f"        '{root.structure_text}')) as resource\n"
        f"    from {lines}\n)"
    )


def _opened(root: Shape) -> str:
    parts = [part for part in root.parts.values() if part.is_deferred]
    columns = [
        f",\n        from_json(resource.{part.name}, '{part.structure_text}') as {opened('resource', part)}"
        for part in parts
    ]
    return f"opened as (\n    select *{''.join(columns)}\n    from parsed\n)"


def _judged(root: Shape, is_checked: bool, *, is_sound: bool) -> str:
    problem = _stop if is_sound else quoted
    other = f"resource.resourceType is distinct from '{root.type}'"
    cases = [("resource is null", "not_json"), (other, "wrong_type")]
    if not is_checked:  # a file may hold several types; a Bundle within it, or what is no resource, is not passed over
        odd = "not regexp_full_match(coalesce(resource.resourceType, ''), '[A-Z][A-Za-z]+')"
        within = f"{other}\n        and (resource.resourceType = 'Bundle'\n            or {odd})\n       "
        cases.insert(1, (within, "no_resource"))
    detail, source = "null::varchar", "opened"
    if is_checked:
        cases.insert(0, ("is_beyond_limits", "beyond_limits"))
        cases.append(("coalesce(resource.id, '') = ''", "missing_id"))
        cases += [(f"misfit = {quoted(NOT_JSON)}", "not_json"), ("misfit is not null", "bad_value")]
        detail, source = "misfit", _doubted(root, is_sound=is_sound)
    whens = "".join(f"\n        when {when} then {problem(word)}" for when, word in cases)
    return (
        f"judged as (\n    select *, {detail} as problem_detail, case{whens}\n    end as problem\n    from {source}\n)"
    )


def _doubted(root: Shape, *, is_sound: bool) -> str:
    """Return the relation in which `misfit` says what is wrong with a line that is read a second time."""
    doubt = "true" if root.keeps_digits else "\n                or ".join(suspicions(root, "resource", "$"))
    second = _stop("misfit") if is_sound else f"misfit(raw, '{root.expected_text}')"
    return (
        f"(\n        select *, case\n            when resource.resourceType = '{root.type}' and (\n"
        f"                {doubt}\n            ) then {second}\n        end as misfit\n        from opened\n    )"
    )


def _stop(problem: str) -> str:
    return f"error({quoted(f'not sound: {problem}')})::varchar"
