"""What a person sees: plain tables, sentences and errors. NO_COLOR and pipes are honoured by rich."""

import csv
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from integrations.errors import RoundsError

# A pipe has no width of its own: what is printed into one is not squeezed.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


SHORT = 24  # characters: a cell up to this length is never broken


def say(sentence: str = "") -> None:
    """Print one sentence; square brackets in it are text."""
    console.print(sentence, markup=False, soft_wrap=True)


def say_beside(sentence: str) -> None:
    """Print one sentence where it is no part of the data that a command prints."""
    print(sentence, file=sys.stderr)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table; numbers stand right."""
    listed = [list(row) for row in rows]
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for position, column in enumerate(columns):
        is_number = bool(listed) and all(isinstance(row[position], int | float | None) for row in listed)
        widest = max((len(_cell(row[position])) for row in listed), default=0)
        table.add_column(
            column.replace("_", " "),
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=widest <= SHORT,
        )
    for row in listed:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def show_dicts(title: str, rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> None:
    """Print dictionaries of one shape as a table."""
    if not rows:
        say(f"{title}: nothing yet")
        return
    shown = columns or list(rows[0])
    show_table(title, shown, ([row[name] for name in shown] for row in rows))


def print_json(value: Any) -> None:
    """Print one JSON document, instants as ISO 8601 in UTC."""
    sys.stdout.write(json.dumps(value, default=_plain, indent=None, allow_nan=False) + "\n")


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Print comma-separated values with a header; null is empty, a list is joined by semicolons."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(row[name]) for name in columns])


@contextmanager
def progress_said(*, is_wanted: bool) -> Iterator[None]:
    """Print what a run tells on its way, in counts: for commands that take long."""
    log, handler = logging.getLogger("rounds"), _Said()
    if not is_wanted:
        yield
        return
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


class _Said(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def print_error(error: RoundsError) -> None:
    """Print what went wrong, where, and what to do, to standard error."""
    sink = Console(stderr=True, highlight=False)
    sink.print(f"error: {error.what}", markup=False, soft_wrap=True, style="red")
    if error.where:
        sink.print(f"where: {error.where}", markup=False, soft_wrap=True)
    if error.to_do:
        sink.print(f"do:    {error.to_do}", markup=False, soft_wrap=True)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, list | tuple):
        return "; ".join(str(part) for part in value)
    return str(value)


def _csv_cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "; ".join(str(part) for part in value)
    return _plain(value) if isinstance(value, datetime) else value


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
