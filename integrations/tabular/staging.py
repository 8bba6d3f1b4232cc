"""The door for warehouse extracts: mapping SQL of the source turns CSV and Parquet files into staged rows.

A mapping is one SELECT over the inputs that the contract names. It gives record_file, record_line and the columns of
its table that it can fill, by name; it may give problem and problem_detail for a record that it cannot read, and
is_empty and out_of_scope_reason for one that holds no fact. It may not lose a record.
"""

import re
from pathlib import Path

import duckdb

from integrations.contract import Contract, matches
from integrations.errors import Refused, WrongUsage
from integrations.tables import DUCKDB_TYPES, TABLES
from integrations.tabular.inputs import open_input
from integrations.tabular.known import open_known

PLACE = {"record_file": "VARCHAR", "record_line": "BIGINT"}
VERDICT = {
    "problem": "VARCHAR",
    "problem_detail": "VARCHAR",
    "is_empty": "BOOLEAN",
    "out_of_scope_reason": "VARCHAR",
}
HEAD = {"patient_id": "VARCHAR", "effective_at": "VARCHAR", "issued_at": "VARCHAR", "is_retracted": "BOOLEAN"}
SET_BY_THE_CONTRACT = {"observation": {"code", "is_extreme"}}
NEVER_NULL = {"is_empty", "is_retracted"}


def stage_tabular(
    connection: duckdb.DuckDBPyConnection, contract: Contract, table: str, *, folder: Path, root: Path
) -> str:
    """Make the temp table staged_<table> from an extract at `root` with the mapping in the source's `folder`.

    Raises Refused when a file or a column is missing, WrongUsage when the mapping itself is wrong.
    """
    declared = contract.tables[table]
    mapping = folder / (declared.mapping or f"{table}.sql")
    sql = mapping.read_text(encoding="utf-8").strip().removesuffix(";")
    own = _own(contract, table)
    read = [name for name in contract.inputs if name in own or re.search(rf"\b{name}\b", sql)]
    for name in read:
        open_input(connection, name, contract.inputs[name], _files(contract, name, root, mapping), root)
    if re.search(rf"\bknown_{table}\b", sql):
        open_known(connection, contract, table)
    try:
        _make_staged(connection, table, sql, own, mapping)
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
        raise Refused(
            f"{mapping.name} does not fit the files: {str(error).splitlines()[0]}",
            where=f"{contract.source}, table {table}",
            to_do="compare the header of the files with the mapping",
        ) from error
    except (duckdb.ConversionException, duckdb.OutOfRangeException):
        raise WrongUsage(
            f"{mapping.name} fails on a value",
            where=f"{contract.source}, table {table}",
            to_do="read texts by try_cast",
        ) from None
    _refuse_lost_records(connection, table, own, mapping)
    return f"staged_{table}"


def staged_columns(table: str) -> dict[str, str]:
    """The columns of a staged row with their DuckDB types: instants and dates stay texts."""
    own = {
        column.name: "VARCHAR" if column.kind in ("instant", "date") else DUCKDB_TYPES[column.kind]
        for column in TABLES[table].columns
        if column.name not in SET_BY_THE_CONTRACT.get(table, ())
    }
    return {**PLACE, **VERDICT, **HEAD, **own}


def _own(contract: Contract, table: str) -> list[str]:
    """The inputs whose records the table must account for: all that read its files, or the one that it names."""
    declared = contract.tables[table]
    if declared.records:
        return list(declared.records_of)
    return [name for name, source in contract.inputs.items() if set(source.files) & set(declared.files)]


def _files(contract: Contract, name: str, root: Path, mapping: Path) -> list[Path]:
    declared = contract.inputs[name]
    every = (path for path in root.rglob("*") if path.is_file())
    files = sorted(path for path in every if matches(path.relative_to(root).as_posix(), declared.files))
    if not files and not declared.is_optional:
        raise Refused(
            f"the extract has no {', '.join(contract.inputs[name].files)}, which {mapping.name} reads",
            where=f"{contract.source}, input {name}",
            to_do="ask the sender for the whole extract",
        )
    return files


def _make_staged(connection: duckdb.DuckDBPyConnection, table: str, sql: str, own: list[str], mapping: Path) -> None:
    columns = staged_columns(table)
    given = [name for name, *_ in connection.execute(f"describe {sql}").fetchall()]
    if wrong := [name for name in given if name not in columns] + [name for name in PLACE if name not in given]:
        raise WrongUsage(
            f"{wrong[0]} is no staged column of {table}" if wrong[0] in given else f"{wrong[0]} is missing",
            where=mapping.name,
            to_do=f"give record_file, record_line and any of: {', '.join(columns)}",
        )
    unreadable = " union all ".join(
        f"select record_file, record_line, 'bad_value' as problem, problem_detail from unreadable_{name}"
        for name in own
    )
    parts = [
        f"select {_select(columns, given)} from (\n{sql}\n)",
        f"select {_select(columns, [*PLACE, 'problem', 'problem_detail'])} from ({unreadable})",
    ]
    # the other doors make views of this name, and a table cannot take the place of a view
    connection.execute(f"create or replace temp table tabular_{table} as {' union all '.join(parts)}")
    connection.execute(f"create or replace temp view staged_{table} as from tabular_{table}")


def _select(columns: dict[str, str], given: list[str]) -> str:
    """The staged columns in order; what is not given is null, and no flag is null."""
    found = {name: f'"{name}"' if name in given else "null" for name in columns}
    return ", ".join(
        f'coalesce({found[name]}::{kind}, false) as "{name}"'
        if name in NEVER_NULL
        else f'{found[name]}::{kind} as "{name}"'
        for name, kind in columns.items()
    )


def _refuse_lost_records(connection: duckdb.DuckDBPyConnection, table: str, own: list[str], mapping: Path) -> None:
    records = " union all ".join(f"select record_file, record_line from {name}" for name in own)
    [(lost,)] = connection.execute(
        f"select count(*) from ({records}) anti join staged_{table} using (record_file, record_line)"
    ).fetchall()
    if lost:
        raise WrongUsage(
            f"{mapping.name} loses {lost} records",
            where=f"table {table}",
            to_do="give each record a row; one without a fact has is_empty and out_of_scope_reason",
        )
