"""What FHIR R4 says of every element: its type, whether it repeats, and to which choice (`value[x]`) it belongs.

r4_elements.txt has one line per type, `Type: element=Type element=Type* element=Type?choice` (* repeats), drawn from
fhir.resources.R4B, whose R4B equals R4 for the resources that Rounds reads.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt", "integer64"})
WHOLE_NUMBERS = NUMBERS - {"decimal"}


@dataclass(frozen=True)
class Element:
    """One element of a type."""

    name: str
    type: str
    is_list: bool
    choice: str | None


@cache
def elements_of(type_name: str) -> dict[str, Element]:
    """Return the elements of a resource or data type by name; empty for a primitive or an unknown type."""
    line = _lines().get(type_name, "")
    return {element.name: element for element in map(_element, line.split())}


def is_resource(type_name: str) -> bool:
    """Tell whether this is a type of resource."""
    return "implicitRules" in elements_of(type_name)


def is_primitive(type_name: str) -> bool:
    """Tell whether values of this type are a single JSON scalar."""
    return type_name[:1].islower()


def choices_of(type_name: str, choice: str) -> dict[str, Element]:
    """Return the elements of a choice by type, {"Quantity": valueQuantity, ...}; empty when it is no choice."""
    return {element.type: element for element in elements_of(type_name).values() if element.choice == choice}


@cache
def _lines() -> dict[str, str]:
    text = (Path(__file__).parent / "r4_elements.txt").read_text(encoding="utf-8")
    return dict(line.split(": ", 1) for line in text.splitlines())


def _element(text: str) -> Element:
    name, _, rest = text.partition("=")
    rest, _, choice = rest.partition("?")
    return Element(name, rest.rstrip("*"), rest.endswith("*"), choice or None)
