"""What every use case owes the house: it knows no other one, and nobody but the catalog finds it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from integrations.settings import CHECKOUT
from models.catalog import use_case_names

ROOMS = ("flows", "models", "features", "integrations")


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def strangers_of(name: str, root: Path) -> list[str]:
    """The files outside of a use case's folder that import from it."""
    own = root / "models" / name
    files = (file for room in ROOMS for file in sorted((root / room).rglob("*.py")) if own not in file.parents)
    wanted = f"models.{name}"
    return [
        file.relative_to(root).as_posix()
        for file in files
        if any(module == wanted or module.startswith(f"{wanted}.") for module in imported(file))
    ]


@pytest.mark.parametrize("name", use_case_names())
def test_no_other_use_case_and_no_shared_step_imports_a_use_case(name: str) -> None:
    assert strangers_of(name, CHECKOUT) == []


@pytest.mark.parametrize(
    "line",
    ["import models.some_24h", "from models.some_24h.estimator import build", "from models import some_24h"],
)
def test_one_that_does_is_found(tmp_path: Path, line: str) -> None:
    for file in ("models/some_24h/use_case.py", "models/other_48h/use_case.py", "flows/steps.py"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(f"def late():\n    {line}\n")
    assert strangers_of("some_24h", tmp_path) == ["flows/steps.py", "models/other_48h/use_case.py"]
