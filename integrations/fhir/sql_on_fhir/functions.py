"""The FHIRPath functions of SQL-on-FHIR."""

from dataclasses import replace

from integrations.duck import quoted
from integrations.fhir.sql_on_fhir.elements import is_primitive
from integrations.fhir.sql_on_fhir.fhirpath import PathError
from integrations.fhir.sql_on_fhir.values import Names, Value, any_of_choice, member, of_type, single

BOUNDED = {"date": "date", "dateTime": "moment", "instant": "moment", "time": "time"}  # as macros.sql names them


def call(name: str, focus: Value, arguments: tuple[Value, ...], names: Names) -> Value:
    """Return focus.name(arguments). Raises PathError for a function that is not known."""
    if focus.choice and name not in ("exists", "empty"):
        raise PathError(f"{focus.choice}[x] may be of several types: choose one by ofType()")
    match name, arguments:
        case "exists", ():
            return exists(focus, names)
        case "empty", ():
            return replace(exists(focus, names), sql=f"not {exists(focus, names).sql}")
        case "not", ():
            return _not(focus)
        case "first", ():
            return replace(focus, sql=f"{focus.sql}[1]", is_list=False) if focus.is_list else focus
        case "last", ():
            return replace(focus, sql=f"{focus.sql}[-1]", is_list=False) if focus.is_list else focus
        case "count", ():
            return Value(f"coalesce(len({focus.as_list}), 0)", "integer")
        case "join", () | (Value(type="string", is_list=False),):
            return _join(focus, arguments[0].sql if arguments else "''")
        case "extension", (Value(type="string", is_list=False) as url,):
            return _extension(focus, url, names)
        case "lowBoundary" | "highBoundary", ():
            return _boundary(name, focus)
        case "getReferenceKey", ():
            return typed(name, focus, "", names)
    raise PathError(f"{name}() with {len(arguments)} argument(s) is not supported")


def typed(name: str, focus: Value, type_name: str, names: Names) -> Value:
    """Return focus.ofType(type_name) or focus.getReferenceKey(type_name)."""
    if name == "ofType":
        return of_type(focus, type_name, names)
    if focus.type != "Reference":
        raise PathError(f"getReferenceKey() is asked of a Reference, not of a {focus.type}")
    text = member(focus, "reference", names)
    if not text.is_list:
        return Value(reference_key(text.sql, type_name), "id")
    each = names.new("reference")
    keys = f"[{reference_key(each, type_name)} for {each} in {text.sql}]"
    return Value(f"[key for key in {keys} if key is not null]", "id", True)


def reference_key(text: str, type_name: str) -> str:
    """Return SQL of the bare id in a reference (macros.sql); null for a reference to another type."""
    return f"reference_key({text}, {quoted(type_name)})" if type_name else f"any_reference_key({text})"


def exists(focus: Value, names: Names) -> Value:
    """Return whether there is anything in focus."""
    present = any_of_choice(focus, names) if focus.choice else focus
    sql = f"(coalesce(len({present.sql}), 0) > 0)" if present.is_list else f"({present.sql} is not null)"
    return Value(sql, "boolean")


def _not(focus: Value) -> Value:
    if focus.type != "boolean":
        raise PathError(f"not() is asked of what is true or false, not of a {focus.type}")
    return Value(f"(not {single(focus, 'not()')})", "boolean")


def _boundary(name: str, focus: Value) -> Value:
    """The least or the greatest value that rounds to what was written: 2024-02 ends on the 29th, 1.0 begins at 0.95."""
    of_what = "decimal" if focus.is_number else BOUNDED.get(focus.type)
    if of_what is None:
        raise PathError(f"{name}() is asked of a number, a date or a time, not of a {focus.type}")
    if focus.is_number_in_json and focus.shape is not None:
        focus.shape.keep_digits()
    sql = f"{name.removesuffix('Boundary')}_of_{of_what}({single(focus, name + '()')}::varchar)"
    return Value(sql, "decimal" if focus.is_number else focus.type)


def _join(focus: Value, separator: str) -> Value:
    if not is_primitive(focus.type) or focus.type == "boolean":
        raise PathError(f"join() is asked of text, not of a {focus.type}")
    return Value(f"coalesce(array_to_string({focus.as_list}, {separator}), '')", "string")


def _extension(focus: Value, url: Value, names: Names) -> Value:
    found = member(focus, "extension", names)
    each = names.new("extension")
    address = member(replace(found, sql=each, is_list=False), "url", names)
    return replace(found, sql=f"list_filter({found.sql}, lambda {each}: {address.sql} = {url.sql})")
