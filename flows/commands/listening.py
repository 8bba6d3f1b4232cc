"""The command that stays: listen."""

import logging
from typing import Annotated

import typer

from flows.screen import say


def add_to(app: typer.Typer) -> None:
    """Put this command into `rounds`."""
    app.command()(listen)


def listen(
    source: Annotated[str, typer.Argument(help="An hl7v2 feed, a folder of integrations/sources, such as demo_lis.")],
) -> None:
    """Take HL7 v2 messages over MLLP until stopped, each kept before it is answered; `rounds ingest` takes them in."""
    from flows.house import open_house
    from flows.listen import listen as serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    counts = serve(open_house(), source)
    say(
        f"answered: {counts['AA']:,} AA, {counts['AE']:,} AE, {counts['AR']:,} AR; "
        f"{counts['repeated']:,} of them had come before"
    )
