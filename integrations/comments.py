"""What people wrote in comments above the entries of a YAML file: it says why, and belongs on the page for readers."""

from collections.abc import Iterator
from itertools import dropwhile, takewhile
from pathlib import Path

import yaml

Place = tuple[int | str, ...]  # keys and positions, such as ("tables", "condition", "history"); () is the whole file


def comments(path: Path) -> dict[Place, str]:
    """Return the comment that stands above each entry that has one, blank lines between them or not."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    found = {place: _above(lines, at) for place, at in _entries(root, ()) if _opens_its_line(lines, at)}
    return {place: said for place, said in found.items() if said}


def _entries(node: yaml.Node | None, place: Place) -> Iterator[tuple[Place, yaml.Mark]]:
    """Give each entry below a node with the mark where it begins."""
    if node is not None and not place:
        yield place, node.start_mark
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, key.value), key.start_mark
            yield from _entries(value, (*place, key.value))
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield (*place, position), item.start_mark
            yield from _entries(item, (*place, position))


def _opens_its_line(lines: list[str], at: yaml.Mark) -> bool:
    return lines[at.line][: at.column].strip() in ("", "-")


def _above(lines: list[str], at: yaml.Mark) -> str:
    """Return the block of comment lines that ends above a mark, as one text."""
    upwards = (lines[number].strip() for number in range(at.line - 1, -1, -1))
    block = list(takewhile(lambda line: line.startswith("#"), dropwhile(lambda line: not line, upwards)))
    return " ".join(line.removeprefix("#").strip() for line in reversed(block))
