"""`repeat` of a view: every item that its paths lead to, and from each item again, to whatever depth."""

import json

from integrations.duck import quoted
from integrations.fhir.sql_on_fhir.elements import elements_of, is_primitive
from integrations.fhir.sql_on_fhir.errors import InvalidView
from integrations.fhir.sql_on_fhir.expressions import Scope
from integrations.fhir.sql_on_fhir.fhirpath import Member, Node, PathError, This, parse
from integrations.fhir.sql_on_fhir.shape import Shape
from integrations.fhir.sql_on_fhir.values import Value


def repeat(paths: list[object], scope: Scope, place: str) -> Value:
    """Return the items as one list, in the order in which one reads them. Raises InvalidView.

    The paths are names joined by points, each leading back to the type that it starts from: item, answer.item.
    """
    if not paths:
        raise InvalidView("repeat needs at least one path", path=place)
    names = [_names(text, f"{place}[{at}]") for at, text in enumerate(paths)]
    owner, shape = scope.this, scope.this.shape
    if shape is None or owner.choice or is_primitive(owner.type):
        raise InvalidView(f"a {owner.choice or owner.type} has nothing to repeat", path=place)
    first = [path for path in names if path[0] in elements_of(owner.type)]
    type_name = _type_reached(owner.type, first[0]) if first else None
    if type_name is None:
        raise InvalidView(f"{owner.type} has no element {'.'.join((first or names)[0])}", path=place)
    for at, path in enumerate(names):
        starts = [start for start in (owner.type, type_name) if path[0] in elements_of(start)]
        if not starts or {_type_reached(start, path) for start in starts} != {type_name}:
            raise InvalidView(f"{'.'.join(path)} does not lead to a {type_name} again", path=f"{place}[{at}]")
    key = json.dumps(names, separators=(",", ":"))
    whole = ", ".join(f"{quoted(name)}, {_whole(owner, shape, name)}" for name in dict.fromkeys(p[0] for p in first))
    item = shape.repeats.setdefault(key, Shape(first[0][-1], type_name, top=shape.top or shape))
    structure = json.dumps([item.structure], separators=(",", ":"))
    sql = f"from_json(repeated(json_object({whole})::varchar, {quoted(key)}), '{structure}')"
    return Value(sql, type_name, True, item)


def _names(text: object, place: str) -> list[str]:
    if not isinstance(text, str):
        raise InvalidView("repeat lists paths", path=place)
    try:
        node: Node = parse(text)
    except PathError as error:
        raise InvalidView(str(error), path=place) from None
    found: list[str] = []
    while isinstance(node, Member):
        found.insert(0, node.name)
        node = node.focus
    if node != This() or not found:
        raise InvalidView("a path of repeat is names joined by points, such as answer.item", path=place)
    return found


def _type_reached(start: str, path: list[str]) -> str | None:
    """The type at the end of a path; None where it leads nowhere."""
    reached: str | None = start
    for name in path:
        element = elements_of(reached).get(name) if reached else None
        reached = element.type if element else None
    return reached


def _whole(owner: Value, shape: Shape, name: str) -> str:
    """The element as JSON, of any depth."""
    part = shape.use(elements_of(owner.type)[name])
    if shape.is_root:
        part.is_deferred = True
    else:
        part.is_whole = True
    return f"{owner.sql}.{name}"
