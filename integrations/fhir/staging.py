"""From FHIR NDJSON files to the staged relation of a table: the door's last step.

A view (views/<table>.json, SQL on FHIR) flattens each line; staged/<table>.sql puts its codes into our words. Every
non-blank line is one record and appears at least once: with its values, with a problem, or with `is_empty`.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from integrations.duck import quoted
from integrations.fhir.lines import LineStream, named
from integrations.fhir.sound import open_sound_lines
from integrations.fhir.sql_on_fhir.compiler import CompiledView, compile_view
from integrations.fhir.sql_on_fhir.macros import define_macros, define_misfit
from integrations.limits import DEFAULT_LIMITS, Limits
from integrations.tables import TABLES

HERE = Path(__file__).parent


def stage(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    files: Sequence[Path],
    view: dict[str, Any] | None = None,
    *,
    root: Path | None = None,
    deleted: Sequence[Path] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> str:
    """Return the staged relation over the files as a subquery; the files are read when it is.

    DuckDB would work out this long statement once more to make a view of it. `record_file` is the path below `root`,
    without root the bare name. `deleted`: files that tell of deletions. Raises InvalidView for a view of one's own.
    """
    define_macros(connection)
    define_misfit(connection)
    compiled = _compiled(table, view)
    connection.register(f"line_{table}", LineStream(named(files, root), compiled.elements, limits))
    if deleted:
        connection.register("line_deleted", LineStream(named(deleted, root), ("resourceType", "meta", "entry"), limits))
    return _with_deleted(_worded(table, compiled.sql), table, view, deleted)


def stage_sound(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    files: Sequence[Path],
    view: dict[str, Any] | None = None,
    *,
    root: Path | None = None,
    deleted: Sequence[Path] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> str | None:
    """Return what `stage` returns, for files whose every line looks sound (sound.py); None for any others.

    To be called after `stage`. Reading it raises InvalidInputException where a line is not sound after all.
    """
    compiled = _compiled(table, view)
    if compiled.sound_sql is None:
        return None
    if not open_sound_lines(connection, f"sound_line_{table}", named(files, root), compiled.structure, limits):
        return None
    return _with_deleted(_worded(table, compiled.sound_sql), table, view, deleted)


def staged_sql(table: str) -> str:
    """Return the SQL of the staged relation over `line_<table>`, by the view that Rounds has."""
    return _worded(table, _compiled(table, None).sql)


def _with_deleted(staged: str, table: str, view: dict[str, Any] | None, deleted: Sequence[Path]) -> str:
    return f"(\n{staged}\nunion all by name\n{deleted_sql(table, view)}\n)" if deleted else f"(\n{staged}\n)"


def _compiled(table: str, view: dict[str, Any] | None) -> CompiledView:
    return compile_view(view, lines=f"line_{table}", is_checked=True) if view else _own_compiled(table)


@cache  # the files of Rounds stay as they are while it runs
def _own_compiled(table: str) -> CompiledView:
    return compile_view(own_view(table), lines=f"line_{table}", is_checked=True)


def _worded(table: str, flat: str) -> str:
    """Put the words of staged/<table>.sql over the SQL of a view."""
    worded = (HERE / "staged" / f"{table}.sql").read_text(encoding="utf-8")
    return f"with flat as (\n{flat}\n)\nselect * from (\n{worded})"


def deleted_sql(table: str, view: dict[str, Any] | None = None) -> str:
    """Return the SQL of the staged deletions over `line_deleted`: of a table's resources, each withdraws its fact."""
    resource = (view or own_view(table))["resource"]
    sql = (HERE / "staged" / "deleted.sql").read_text(encoding="utf-8").replace("$resource_type", quoted(resource))
    return f"select * rename (deleted_key as {TABLES[table].key}) from (\n{sql})"


def own_view(table: str) -> dict[str, Any]:
    """Return the ViewDefinition that Rounds has for a table."""
    view: dict[str, Any] = json.loads((HERE / "views" / f"{table}.json").read_text(encoding="utf-8"))
    return view
