"""The part of a resource that a view looks at: what DuckDB is told to read of each line."""

import json
from dataclasses import dataclass, field

from integrations.fhir.sql_on_fhir.elements import NUMBERS, Element, is_primitive

# Read at once, since a resource seldom lacks them; any other part of a resource is read as JSON text first, and as a
# structure only where it is present, so that what is absent costs nothing and what is of the wrong type is noticed.
USUAL = frozenset({"category", "class", "code", "encounter", "meta", "patient", "period", "subject", "valueQuantity"})

Structure = str | dict[str, "Structure"] | list["Structure"]


@dataclass
class Shape:
    """One element that a view uses, with the elements used below it. Grows while the view is compiled."""

    name: str
    type: str
    is_list: bool = False
    choice: str | None = None
    is_root: bool = False
    is_deferred: bool = False
    is_whole: bool = False  # within a loop: kept as JSON, since a repeat goes down it to any depth
    parts: dict[str, "Shape"] = field(default_factory=dict)
    top: "Shape | None" = None  # the resource that this is a part of
    keeps_digits: bool = False  # of a resource: its numbers are read as text, 1.50 and not 1.5
    repeats: dict[str, "Shape"] = field(default_factory=dict)  # by its paths, what a repeat from here gives

    def use(self, element: Element) -> "Shape":
        """Return the part for an element, which from now on is read."""
        if element.name not in self.parts:
            is_usual = element.name in USUAL or is_primitive(element.type)
            part = Shape(element.name, element.type, element.is_list, element.choice, top=self.top or self)
            part.is_deferred = self.is_root and not is_usual
            self.parts[element.name] = part
        return self.parts[element.name]

    @property
    def leaf(self) -> str:
        """What a value without parts is: boolean, number, text or any."""
        if not is_primitive(self.type):
            return "any"
        return "number" if self.type in NUMBERS else "boolean" if self.type == "boolean" else "text"

    @property
    def expected(self) -> Structure:
        """What a valid resource holds here, in the words of `leaf`."""
        inner: Structure = {part.name: part.expected for part in self.parts.values()} or self.leaf
        return [inner] if self.is_list else inner

    @property
    def structure(self) -> Structure:
        """What DuckDB reads. Numbers stay JSON, so that a "12.5" in quotes is not taken for one."""
        inner: Structure = {
            part.name: "JSON" if part.is_deferred or part.is_whole else part.structure for part in self.parts.values()
        }
        if not inner:
            as_text = (self.top or self).keeps_digits and self.leaf == "number"
            inner = "VARCHAR" if as_text else {"text": "VARCHAR", "boolean": "BOOLEAN"}.get(self.leaf, "JSON")
        return [inner] if self.is_list else inner

    @property
    def structure_text(self) -> str:
        return json.dumps(self.structure, separators=(",", ":"))

    @property
    def expected_text(self) -> str:
        return json.dumps(self.expected, separators=(",", ":"))

    def keep_digits(self) -> None:
        """Have every number of the resource read as it was written."""
        (self.top or self).keeps_digits = True


def opened(owner: str, part: Shape) -> str:
    """Return the SQL name under which a deferred part lies once it is read as a structure."""
    return f"{owner}_{part.name}"
