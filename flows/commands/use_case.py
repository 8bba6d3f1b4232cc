"""The command on use cases: use-case new."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from flows.screen import say, show_table

use_case_app = typer.Typer(help="Use cases: make the folder of a new one.", no_args_is_help=True)


@use_case_app.callback()
def use_cases() -> None:
    """Use cases: make the folder of a new one."""


def add_to(app: typer.Typer) -> None:
    """Put this command into `rounds`."""
    app.add_typer(use_case_app, name="use-case")


@use_case_app.command()
def new(
    name: Annotated[str, typer.Argument(help="What the use case is to be called, such as sepsis_24h.")],
    owner: Annotated[
        str | None, typer.Option(help="Who answers for it; default: owner of NAME.", show_default=False)
    ] = None,
) -> None:
    """Make the folder of a new use case, with its schedules in prefect.yaml, ready for its promises."""
    from integrations.settings import CHECKOUT
    from models.catalog import MODELS

    place = make(name, owner or f"owner of {name}", models=MODELS, deployments=CHECKOUT / "prefect.yaml")
    show_table("new use case", ("use case", "folder", "deployments"), [[name, place, f"score_{name}, monitor_{name}"]])
    say()
    say(f"It runs as it is. What only people can settle stands after the word DECIDE: grep -rn DECIDE {place}")
    say("After each change: make docs, and")
    say(f"  .venv/bin/python -m pytest tests/promises -k {name}")


def make(name: str, owner: str, *, models: Path, deployments: Path) -> str:
    """Make folder, page and deployments, all of them or none; return the folder's place in the checkout."""
    from flows.new_deployments import with_deployments
    from flows.nights import hospital_zone
    from integrations.durable import write_whole
    from models.catalog import use_case
    from models.new_use_case import check_new_name, new_use_case
    from models.use_case_page import use_case_page

    check_new_name(name, models)
    text = deployments.read_text(encoding="utf-8")
    with_deployments(text, name, hours=(0,), time_zone="UTC")  # before anything is made
    folder = new_use_case(name, models=models, owner=owner)
    try:
        case = use_case(name)
        write_whole(folder / "README.md", use_case_page(case).encode(), mode=0o644)
        after = with_deployments(text, name, hours=case.schedule_hours, time_zone=hospital_zone().key)
        write_whole(deployments, after.encode(), mode=0o644)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return f"models/{name}"
