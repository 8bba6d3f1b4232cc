"""A FHIRPath tree as SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from integrations.duck import quoted
from integrations.fhir.sql_on_fhir import functions
from integrations.fhir.sql_on_fhir.elements import is_primitive
from integrations.fhir.sql_on_fhir.fhirpath import Binary, Call, Constant, Index, Literal, Member, Node, PathError, This
from integrations.fhir.sql_on_fhir.values import MOMENTS, Names, Value, member, single

COMPARISONS = frozenset({"<", ">", "<=", ">="})
DECIMAL_PLACES = 8  # that FHIRPath asks of every implementation
ARITHMETIC = {"+": "+", "-": "-", "*": "*", "/": "/", "div": "//", "mod": "%"}


@dataclass(frozen=True)
class Scope:
    """What names stand for at one place of a view: $this, the resource, the constants."""

    this: Value
    resource: Value
    constants: Mapping[str, Value]
    names: Names
    loop: str = ""  # variable of the innermost forEach

    def within(self, item: Value) -> "Scope":
        """The same place, one step further in."""
        return replace(self, this=item)


def place_of(loop: str) -> str:
    """Return the variable that holds an item's place in its list, from 1."""
    return f"{loop}_place"


def compiled(node: Node, scope: Scope) -> Value:
    """Return the SQL of a FHIRPath. Raises PathError."""
    match node:
        case This():
            return scope.this
        case Literal():
            return literal(node)
        case Constant(name):
            return _constant(name, scope)
        case Member(This(), name) if name == scope.resource.type and scope.this == scope.resource:
            return scope.resource
        case Member(focus, name):
            return member(compiled(focus, scope), name, scope.names)
        case Index(focus, index):
            return _index(compiled(focus, scope), compiled(index, scope))
        case Call():
            return _call(node, scope)
        case Binary(operator, left, right):
            return _binary(operator, compiled(left, scope), compiled(right, scope))


def literal(node: Literal) -> Value:
    """Return a value written in the path as a SQL literal of its own type."""
    value = node.value
    if value is None:
        return Value("null::varchar", "empty")
    if isinstance(value, bool):
        return Value("true" if value else "false", "boolean")
    if isinstance(value, int):
        return Value(str(value), "integer")
    if isinstance(value, Decimal):
        return Value(f"{value}::double", "decimal")
    return Value(quoted(str(value)), "dateTime" if node.is_moment else "string")


def _constant(name: str, scope: Scope) -> Value:
    if name in ("resource", "context"):
        return scope.resource
    if name == "rowIndex":
        return Value(f"({place_of(scope.loop)} - 1)" if scope.loop else "0", "integer")
    if name not in scope.constants:
        raise PathError(f"%{name} is no constant of this view")
    return scope.constants[name]


def _index(focus: Value, index: Value) -> Value:
    if index.type not in ("integer", "positiveInt", "unsignedInt") or index.is_list:
        raise PathError("an index is a whole number")
    if focus.choice:
        raise PathError(f"{focus.choice}[x] may be of several types: choose one by ofType()")
    position = str(int(index.sql) + 1) if index.sql.isdigit() else f"nullif(greatest({index.plain} + 1, 0), 0)"
    listed = focus if focus.is_list else replace(focus, sql=focus.as_list)
    return replace(listed, sql=f"{listed.sql}[{position}]", is_list=False)


def _call(node: Call, scope: Scope) -> Value:
    focus = compiled(node.focus, scope)
    match node.name, node.arguments:
        case "where", (criterion,):
            return _where(focus, criterion, scope)
        case "exists", (criterion,):
            return functions.exists(_where(focus, criterion, scope), scope.names)
        case "ofType" | "getReferenceKey", (Member(This(), type_name),):
            return functions.typed(node.name, focus, type_name, scope.names)
        case "iif", (criterion, then, otherwise):
            return _either(condition(criterion, scope), compiled(then, scope), compiled(otherwise, scope))
        case "getResourceKey", ():
            return member(scope.resource, "id", scope.names)
    return functions.call(
        node.name, focus, tuple(compiled(argument, scope) for argument in node.arguments), scope.names
    )


def _where(focus: Value, criterion: Node, scope: Scope) -> Value:
    if not focus.is_list:
        return replace(focus, sql=f"case when {condition(criterion, scope.within(focus))} then {focus.sql} end")
    each = scope.names.new("item")
    item = replace(focus, sql=each, is_list=False)
    return replace(focus, sql=f"list_filter({focus.sql}, lambda {each}: {condition(criterion, scope.within(item))})")


def _either(criterion: str, then: Value, otherwise: Value) -> Value:
    if then.choice or otherwise.choice or then.type != otherwise.type or then.is_list != otherwise.is_list:
        raise PathError("both results of iif() are of one type, and both single or both not")
    return replace(then, sql=f"(case when {criterion} then {then.sql} else {otherwise.sql} end)")


def condition(node: Node, scope: Scope) -> str:
    """Return the SQL of a criterion. Raises PathError when it is not true or false."""
    value = compiled(node, scope)
    if value.type != "boolean" or value.choice:
        raise PathError(f"a criterion is true or false, this is a {value.type}")
    return single(value, "a criterion")


def _binary(operator: str, left: Value, right: Value) -> Value:
    if left.choice or right.choice:
        raise PathError(f"{left.choice or right.choice}[x] may be of several types: choose one by ofType()")
    if operator in ("and", "or", "xor", "implies"):
        return Value(_logic(operator, left, right), "boolean")
    if operator in COMPARISONS | {"=", "!="} and not _is_comparable(left, right):
        raise PathError(f"{left.type} {operator} {right.type} cannot be compared")
    if operator in ("=", "!="):
        return Value(_equal(operator, left, right), "boolean")
    one, other = single(left, "left of " + operator), single(right, "right of " + operator)
    left, right = replace(left, sql=one, is_list=False), replace(right, sql=other, is_list=False)
    if operator in COMPARISONS:
        return Value(f"({_ordered(left, right)} {operator} {_ordered(right, left)})", "boolean")
    if operator == "&" or (operator == "+" and _kind(left) == _kind(right) == "text"):
        text = (
            f"coalesce({left.sql}, '') || coalesce({right.sql}, '')"
            if operator == "&"
            else f"{left.sql} || {right.sql}"
        )
        return Value(f"({text})", "string")
    if operator not in ARITHMETIC or not (left.is_number and right.is_number):
        raise PathError(f"{left.type} {operator} {right.type} is not supported")
    divisor = right.plain if operator in ("+", "-", "*") else f"nullif({right.plain}, 0)"  # by zero there is no result
    sql, is_decimal = f"({left.plain} {ARITHMETIC[operator]} {divisor})", "decimal" in (left.type, right.type)
    if operator == "div":
        return Value(f"try_cast(trunc({left.plain} / {divisor}) as bigint)" if is_decimal else sql, "integer")
    return (
        Value(f"round({sql}, {DECIMAL_PLACES})", "decimal")
        if is_decimal or operator == "/"
        else Value(f"try({sql})", "integer")
    )


def _logic(operator: str, left: Value, right: Value) -> str:
    if left.type != "boolean" or right.type != "boolean":
        raise PathError(f"{operator} joins what is true or false, not {left.type} and {right.type}")
    one, other = single(left, "left of " + operator), single(right, "right of " + operator)
    if operator == "implies":
        return f"(not {one} or {other})"
    return f"({one} <> {other})" if operator == "xor" else f"({one} {operator} {other})"


def _equal(operator: str, left: Value, right: Value) -> str:
    sign = "<>" if operator == "!=" else "="
    if not left.is_list and not right.is_list:
        return f"({_comparable(left, right)} {sign} {_comparable(right, left)})"
    one, other = f"nullif({left.as_list}, [])", f"nullif({right.as_list}, [])"
    return f"({one} {sign} {other})"


def _is_comparable(left: Value, right: Value) -> bool:
    kinds = {_kind(left), _kind(right)} - {"empty"}
    return len(kinds) < 2 and "structure" not in kinds


def _kind(value: Value) -> str:
    if value.is_number:
        return "number"
    if value.type in ("boolean", "empty"):
        return value.type
    return "text" if is_primitive(value.type) else "structure"


def _comparable(value: Value, other: Value) -> str:
    if value.type == other.type == "instant":
        return f"coalesce(try_cast({value.sql} as timestamptz)::varchar, {value.sql})"
    return value.plain


def _ordered(value: Value, other: Value) -> str:
    if {value.type, other.type} <= MOMENTS and value.type != "time":
        return f"try_cast({value.sql} as timestamptz)"
    return value.plain
