"""Options that several commands share, and how their text is read."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from integrations.errors import WrongUsage

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="The instant to run for, ISO 8601 with offset; default: now.", show_default=False),
]
AsPerson = Annotated[str, typer.Option("--as", help="Your name, as registered by `rounds people add`.")]
KeyFile = Annotated[Path, typer.Option("--key", help="Your private key file.", dir_okay=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a sentence; it stands in the audit chain.")]
UseCaseName = Annotated[str, typer.Argument(help="A folder of models/, such as readmission_30d.")]


def instant(text: str | None) -> datetime | None:
    """Read an instant that a person typed. Raises WrongUsage without an offset: a bare time means two things."""
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUsage(f"{text} is no instant", where="--as-of", to_do="write 2024-07-01T06:00:00Z") from None
    if value.tzinfo is None:
        raise WrongUsage(f"{text} has no offset", where="--as-of", to_do="end it with Z or +02:00")
    return value.astimezone(UTC)


def has_server() -> bool:
    """Whether a Prefect server is configured: then a command runs as a flow on it, otherwise as its bare body."""
    return bool(os.environ.get("PREFECT_API_URL"))
