"""Every use case there is: a folder of models/ whose use_case.py declares USE_CASE is one."""

import importlib
from pathlib import Path

from integrations.errors import WrongUsage, did_you_mean
from models.use_case import UseCase

MODELS = Path(__file__).resolve().parent


def use_case_names() -> tuple[str, ...]:
    """Return the names of all use cases, without importing them."""
    return tuple(sorted(path.parent.name for path in MODELS.glob("*/use_case.py")))


def use_cases() -> dict[str, UseCase]:
    """Return every use case by name."""
    return {name: use_case(name) for name in use_case_names()}


def use_case(name: str) -> UseCase:
    """Return one use case. Raises WrongUsage for a name that no folder has, or a folder that declares another name."""
    check_name(name)
    found: UseCase = importlib.import_module(f"models.{name}.use_case").USE_CASE
    if found.name != name:
        raise WrongUsage(f"USE_CASE is named {found.name}", where=f"models/{name}/use_case.py", to_do=f"name it {name}")
    return found


def check_name(name: str) -> None:
    """Raise WrongUsage for a name that no folder has, without importing any use case."""
    if name not in use_case_names():
        raise WrongUsage(f"unknown use case {name}", where="models", to_do=did_you_mean(name, use_case_names()))
