"""The FHIRPath subset of SQL-on-FHIR: from text to a tree."""

import re
from dataclasses import dataclass
from decimal import Decimal

BINARY: tuple[tuple[str, ...], ...] = (  # loosest first
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("=", "!=", "~", "!~"),
    ("<=", ">=", "<", ">"),
    ("+", "-", "&"),
    ("*", "/", "div", "mod"),
)
TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^'\\]|\\.)*')
  | @(?P<moment>T?\d[\dT:.+Z-]*)
  | (?P<number>\d+(?:\.\d+)?)
  | %(?P<constant>[A-Za-z_]\w*)
  | (?P<this>\$this)
  | (?P<name>[A-Za-z_]\w*|`[^`]+`)
  | (?P<sign>!=|!~|<=|>=|[(){}.,\[\]=<>~+\-*/&])
    )""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


class PathError(ValueError):
    """The text is no FHIRPath of the subset."""


@dataclass(frozen=True)
class Literal:
    """A value written in the path; `moment` is a date or time, kept as text."""

    value: str | int | Decimal | bool | None
    is_moment: bool = False


@dataclass(frozen=True)
class Constant:
    """%name, declared by the view."""

    name: str


@dataclass(frozen=True)
class This:
    """$this, or the focus that a bare name starts from."""


@dataclass(frozen=True)
class Member:
    """focus.name"""

    focus: "Node"
    name: str


@dataclass(frozen=True)
class Call:
    """focus.name(arguments)"""

    focus: "Node"
    name: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True)
class Index:
    """focus[index], from 0"""

    focus: "Node"
    index: "Node"


@dataclass(frozen=True)
class Binary:
    """left operator right"""

    operator: str
    left: "Node"
    right: "Node"


Node = Literal | Constant | This | Member | Call | Index | Binary


def parse(text: str) -> Node:
    """Return the tree of a FHIRPath. Raises PathError."""
    parser = _Parser(_tokens(text))
    try:
        node = parser.expression(0)
    except RecursionError:
        raise PathError("too deep to be read") from None
    parser.expect("end")
    return node


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position, text = [], 0, text.strip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise PathError(f"cannot read {text[position : position + 20]!r}")
        kind = str(match.lastgroup)
        tokens.append((kind, match.group(kind)))
        position = match.end()
    return [*tokens, ("end", "")]


class _Parser:
    """Recursive descent over the tokens; one position, moved only by `take`."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens, self.position = tokens, 0

    @property
    def next(self) -> tuple[str, str]:
        return self.tokens[self.position]

    def take(self) -> tuple[str, str]:
        self.position += 1
        return self.tokens[self.position - 1]

    def takes(self, text: str) -> bool:
        if self.next == ("sign", text):
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        kind, found = self.take()
        if text not in (kind, found):
            raise PathError(f"expected {text!r}, found {found or kind!r}")

    def expression(self, level: int) -> Node:
        if level == len(BINARY):
            return self.signed()
        left = self.expression(level + 1)
        while self.next[0] in ("sign", "name") and self.next[1] in BINARY[level]:
            operator = self.take()[1]
            left = Binary(operator, left, self.expression(level + 1))
        return left

    def signed(self) -> Node:
        if self.takes("-"):
            return Binary("-", Literal(0), self.signed())
        return Binary("+", Literal(0), self.signed()) if self.takes("+") else self.steps()

    def steps(self) -> Node:
        node = self.start()
        while True:
            if self.takes("."):
                node = self.step(node)
            elif self.takes("["):
                node = Index(node, self.expression(0))
                self.expect("]")
            else:
                return node

    def start(self) -> Node:
        kind, text = self.next
        if kind == "name" and text not in ("true", "false"):
            return self.step(This())
        self.take()
        if text == "(":
            node = self.expression(0)
            self.expect(")")
            return node
        if text == "{":
            self.expect("}")
            return Literal(None)
        return _literal(kind, text)

    def step(self, focus: Node) -> Node:
        kind, name = self.take()
        if kind != "name":
            raise PathError(f"expected a name, found {name or kind!r}")
        if not self.takes("("):
            return Member(focus, name.strip("`"))
        arguments: list[Node] = []
        while not self.takes(")"):
            if arguments:
                self.expect(",")
            arguments.append(self.expression(0))
        return Call(focus, name, tuple(arguments))


def _literal(kind: str, text: str) -> Node:
    if kind == "string":
        return Literal(re.sub(r"\\(.)", lambda found: ESCAPES.get(found.group(1), found.group(1)), text[1:-1]))
    if kind == "number":
        return Literal(Decimal(text) if "." in text else int(text))
    if kind == "moment":
        return Literal(text.removeprefix("T"), is_moment=True)
    if kind == "name":
        return Literal(text == "true")
    if kind == "constant":
        return Constant(text)
    if kind == "this":
        return This()
    raise PathError(f"found {text or 'the end'!r} where a value should stand")
