"""Commands on what comes in: ingest, tables, quarantine."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import AsJson, AsOf, DryRun, instant
from flows.screen import print_json, say, show_dicts


def add_to(app: typer.Typer) -> None:
    """Put these commands into `rounds`."""
    app.command()(ingest)
    app.command()(tables)
    app.command()(quarantine)
