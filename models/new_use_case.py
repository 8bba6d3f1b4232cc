"""A new use case: its folder in models, made from models/use_case_template, whole or not at all."""

import os
import re
import shutil
import uuid
from pathlib import Path

from integrations.durable import sync_folder
from integrations.errors import Refused, WrongUsage

TEMPLATE = Path(__file__).resolve().parent / "use_case_template"


def check_new_name(name: str, models: Path) -> None:
    """Raise WrongUsage for a name that no folder may have, Refused for one that is taken."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", name):
        raise WrongUsage(
            "the name is not two words or more in snake case",
            where="NAME",
            to_do="say what is predicted and by when, in small letters, digits and _, such as sepsis_24h",
        )
    if os.path.lexists(models / name) or os.path.lexists(models / f"{name}.py"):
        raise Refused(f"{name} exists already", where=f"models/{name}", to_do="choose another name")


def new_use_case(name: str, *, models: Path, owner: str) -> Path:
    """Make the folder of a use case in `models` and return it. Raises WrongUsage or Refused; then nothing has changed.

    It is made under a name that starts with a dot, and moved to its place once it is whole.
    """
    check_new_name(name, models)
    if not owner.strip() or not owner.isprintable() or '"' in owner or "\\" in owner:
        raise WrongUsage("--owner is no line of text", where="--owner", to_do="give a few words on one line")
    staged = models / f".new-{uuid.uuid4().hex}"
    try:
        _copy_template(staged, {"use_case": name, "owner": owner})
        staged.rename(models / name)
        sync_folder(models)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return models / name


def _copy_template(folder: Path, answers: dict[str, str]) -> None:
    from copier import run_copy

    run_copy(str(TEMPLATE), folder, data=answers, defaults=True, quiet=True)
    folder.chmod(0o755)  # a use case is code of the project, for whoever runs it
    for file in folder.iterdir():
        file.chmod(0o644)
