"""Options that several commands share, and how their text is read."""

import os
from datetime import UTC, date, datetime, time, timedelta
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
    return None if text is None else _instant(text, "--as-of")


def _instant(text: str, option: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUsage(f"{text} is no instant", where=option, to_do="write 2024-07-01T06:00:00Z") from None
    if value.tzinfo is None:
        raise WrongUsage(f"{text} has no offset", where=option, to_do="end it with Z or +02:00")
    return value.astimezone(UTC)


def span(first: str, last: str) -> tuple[datetime, datetime]:
    """Read a span that a person typed: days of the hospital's clock, the last one whole, or instants with offset."""
    begin, end = _edge(first, "--from", days_on=0), _edge(last, "--to", days_on=1)
    if begin >= end:
        raise WrongUsage(f"{last} lies before {first}", where="--to", to_do="name the later one last")
    return begin, end


def _edge(text: str, option: str, *, days_on: int) -> datetime:
    from flows.nights import hospital_zone

    try:
        day = date.fromisoformat(text) + timedelta(days=days_on)
    except ValueError:
        return _instant(text, option)
    return datetime.combine(day, time(), hospital_zone()).astimezone(UTC)


def has_server() -> bool:
    """Whether a Prefect server is configured: then a command runs as a flow on it, otherwise as its bare body."""
    return bool(os.environ.get("PREFECT_API_URL"))
