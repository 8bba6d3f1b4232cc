"""`repeat` of a view: every item that its paths lead to, and from each item again, to whatever depth.

A path that only names elements is followed by `repeated` alone. One that also chooses among them, by where(), first(),
an index or extension(), is asked in SQL of every item that its names lead to; `followed` then keeps what was chosen.
"""

import json

from integrations.duck import quoted
from integrations.fhir.sql_on_fhir.elements import elements_of, is_primitive
from integrations.fhir.sql_on_fhir.errors import InvalidView
from integrations.fhir.sql_on_fhir.expressions import Scope, compiled
from integrations.fhir.sql_on_fhir.fhirpath import Call, Index, Member, Node, PathError, This, parse
from integrations.fhir.sql_on_fhir.macros import NUMBER
from integrations.fhir.sql_on_fhir.shape import Shape
from integrations.fhir.sql_on_fhir.values import Value


def repeat(paths: list[object], scope: Scope, place: str) -> Value:
    """Return the items as one list, in the order in which one reads them. Raises InvalidView.

    Each path leads back to the type that it starts from: item, answer.item, item.where(linkId != '1').
    """
    if not paths:
        raise InvalidView("repeat needs at least one path", path=place)
    nodes = [_parsed(text, f"{place}[{at}]") for at, text in enumerate(paths)]
    names = [_names(node, f"{place}[{at}]") for at, node in enumerate(nodes)]
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
    key, top = json.dumps(paths), shape.top or shape
    item = shape.repeats.setdefault(key, Shape(first[0][-1], type_name, top=top))
    followed = quoted(json.dumps(names, separators=(",", ":")))
    if all(_is_plain(node) for node in nodes):
        whole = _whole(owner, shape, list(dict.fromkeys(path[0] for path in first)))
        structure = json.dumps([item.structure], separators=(",", ":"))
        return Value(f"from_json(repeated({whole}, {followed}), '{structure}')", type_name, True, item)
    start = shape.repeats.setdefault(f"start of {key}", Shape("start", owner.type, top=top))
    tree, each, number = (scope.names.new(stem) for stem in ("tree", "item", "number"))
    chosen = _chosen(nodes, names, scope.within(Value(f"{tree}.start", owner.type, shape=start)), place)
    onward = _chosen(nodes, names, scope.within(Value(each, type_name, shape=item)), place)
    whole = _whole(owner, shape, list(start.parts))
    structure = json.dumps({"start": start.structure, "items": [item.structure]}, separators=(",", ":"))
    sql = (
        f"[[{tree}.items[{number} + 1] for {number} in followed({chosen}, [{onward} for {each} in {tree}.items])]\n"
        f"        for {tree} in [from_json(numbered({whole}, {followed}), '{structure}')]][1]"
    )
    return Value(sql, type_name, True, item)


def _parsed(text: object, place: str) -> Node:
    if not isinstance(text, str):
        raise InvalidView("repeat lists paths", path=place)
    try:
        return parse(text)
    except PathError as error:
        raise InvalidView(str(error), path=place) from None


def _names(node: Node, place: str) -> list[str]:
    """The elements that a path goes down, whatever it chooses among them."""
    found: list[str] = []
    while node != This():
        match node:
            case Member(focus, name):
                found.insert(0, name)
            case Call(focus, "extension", (_,)):
                found.insert(0, "extension")
            case Call(Member(focus, choice), "ofType", (Member(This(), name),)):
                found.insert(0, choice + name[:1].upper() + name[1:])
            case Index(focus, _) | Call(focus, "where", (_,)) | Call(focus, "first" | "last", ()):
                pass
            case _:
                found = []
                break
        node = focus
    if not found:
        raise InvalidView("a path of repeat goes from an item down to others, such as answer.item", path=place)
    return found


def _is_plain(node: Node) -> bool:
    while isinstance(node, Member):
        node = node.focus
    return node == This()


def _type_reached(start: str, path: list[str]) -> str | None:
    """The type at the end of a path; None where it leads nowhere."""
    reached: str | None = start
    for name in path:
        element = elements_of(reached).get(name) if reached else None
        reached = element.type if element else None
    return reached


def _chosen(nodes: list[Node], names: list[list[str]], scope: Scope, place: str) -> str:
    """SQL of the numbers of the items that the paths choose from one place, path after path."""
    found = []
    for at, (node, path) in enumerate(zip(nodes, names, strict=True)):
        if path[0] in elements_of(scope.this.type):
            try:
                items = compiled(node, scope)
            except PathError as error:
                raise InvalidView(str(error), path=f"{place}[{at}]") from None
            if items.shape is not None:
                items.shape.parts.setdefault(NUMBER, Shape(NUMBER, "integer"))
            found.append(f"[it.{NUMBER}::bigint for it in coalesce({items.as_list}, [])]")
    return " || ".join(found) or "[]::bigint[]"


def _whole(owner: Value, shape: Shape, names: list[str]) -> str:
    """The elements as one JSON object, of any depth."""
    for name in names:
        part = shape.use(elements_of(owner.type)[name])
        if is_primitive(part.type):
            continue
        if shape.is_root:
            part.is_deferred = True
        else:
            part.is_whole = True
    return f"json_object({', '.join(f'{quoted(name)}, {owner.sql}.{name}' for name in names)})::varchar"
