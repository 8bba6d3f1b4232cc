"""A FHIRPath collection as SQL: one value or null, or a list; with the FHIR type that says what can be asked of it."""

from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import count

from integrations.duck import quoted
from integrations.fhir.sql_on_fhir.elements import NUMBERS, WHOLE_NUMBERS, choices_of, elements_of, is_primitive
from integrations.fhir.sql_on_fhir.fhirpath import PathError
from integrations.fhir.sql_on_fhir.shape import Shape, opened

TOO_MANY = "has more than one value"
MOMENTS = frozenset({"date", "dateTime", "instant", "time"})


@dataclass(frozen=True)
class Value:
    """SQL of a collection. `shape` is null for what is computed; `choice` names an `x[x]` of no type yet."""

    sql: str
    type: str
    is_list: bool = False
    shape: Shape | None = None
    choice: str | None = None
    is_number_in_json: bool = False  # a number as it lies in the resource, not yet cast

    @property
    def as_list(self) -> str:
        """The collection as a SQL list without nulls."""
        return self.sql if self.is_list else f"[it for it in [{self.sql}] if it is not null]"

    @property
    def is_number(self) -> bool:
        return self.type in NUMBERS

    @property
    def plain(self) -> str:
        """The single value in the SQL type that can be compared and computed with."""
        if not self.is_number_in_json:
            return self.sql
        return f"try_cast({self.sql}::varchar as {'bigint' if self.type in WHOLE_NUMBERS else 'double'})"


class Names:
    """Names for the variables of list comprehensions, each used once."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self, stem: str) -> str:
        return f"{stem}_{next(self._numbers)}"


def member(focus: Value, name: str, names: Names) -> Value:
    """Return focus.name; of a list, the members of all its items in one list."""
    if focus.shape is None or focus.choice or is_primitive(focus.type):
        raise PathError(f"{name} of a {focus.choice or focus.type}: it has no elements; choose one by ofType()")
    element = elements_of(focus.type).get(name)
    if element is None:
        if choices_of(focus.type, name):
            return replace(focus, choice=name)
        near = get_close_matches(name, elements_of(focus.type), 1)
        raise PathError(f"{focus.type} has no element {name}" + (f"; did you mean {near[0]}?" if near else ""))
    part = focus.shape.use(element)
    number = part.leaf == "number"
    if not focus.is_list:
        return Value(_read(focus.sql, part), element.type, element.is_list, part, is_number_in_json=number)
    each = names.new(_singular(focus.shape.name))
    sql = f"[{_read(each, part)} for {each} in {focus.sql} if {each}.{name} is not null]"
    return Value(f"flatten({sql})" if element.is_list else sql, element.type, True, part, is_number_in_json=number)


def of_type(focus: Value, type_name: str, names: Names) -> Value:
    """Return what of focus is of this type: the member of a choice, or focus itself."""
    if focus.choice is None:
        return focus if focus.type == type_name else Value("null", type_name, focus.is_list, focus.shape)
    chosen = choices_of(focus.type, focus.choice).get(type_name)
    if chosen is None:
        raise PathError(f"{focus.choice}[x] of {focus.type} cannot be a {type_name}")
    return member(replace(focus, choice=None), chosen.name, names)


def any_of_choice(focus: Value, names: Names) -> Value:
    """Return whether any member of a choice is there, as a list of what is."""
    owner = replace(focus, choice=None)
    members = [member(owner, element.name, names) for element in choices_of(focus.type, str(focus.choice)).values()]
    texts = ", ".join(f"to_json({one.sql})" if not one.is_list else f"to_json({one.sql}[1])" for one in members)
    return Value(f"[it for it in [{texts}] if it is not null]", "any", True)


def single(value: Value, what: str) -> str:
    """Return SQL of the one value of a collection; DuckDB stops with a sentence where there are more."""
    if not value.is_list:
        return value.sql
    sentence = quoted(f"{what} {TOO_MANY}")
    return f"case when len({value.sql}) > 1 then error({sentence}) else {value.sql}[1] end"


def _read(owner: str, part: Shape) -> str:
    place = f"{owner}.{part.name}"
    if part.is_deferred:
        place = opened(owner, part)
    elif part.is_whole:
        place = f"from_json({place}, '{part.structure_text}')"
    if part.is_list and is_primitive(part.type):
        return f"[item for item in {place} if item is not null]"
    return place


def _singular(name: str) -> str:
    return name.removesuffix("s") or "item"
