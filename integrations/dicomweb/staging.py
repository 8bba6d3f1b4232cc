"""From landed studies, a line each, to the staged relation of a table: staged/study.sql, then that of the table."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from integrations.contract import Contract
from integrations.duck import quoted
from integrations.fhir.lines import LineStream, named

HERE = Path(__file__).parent / "staged"


def stage_studies(
    connection: duckdb.DuckDBPyConnection, contract: Contract, table: str, files: Sequence[Path], root: Path
) -> str:
    """Return the staged relation over the files as a subquery; the files are read when it is.

    Every non-blank line is one record and one row of it: with its values, or with a problem.
    """
    connection.register("line_study", LineStream(named(files, root), (), contract.limits))
    return f"(\nwith study as (\n{_sql('study', contract)}\n)\nselect * from (\n{_sql(table, contract)}\n)\n)"


def _sql(name: str, contract: Contract) -> str:
    """One of the SQL files, with what the contract says of patients and stays."""
    if contract.patients_of is None:
        raise ValueError(f"{contract.source} has no patients_of")
    of = contract.patients_of
    said = {
        "$authorities": f"({', '.join(quoted(name) for name in of.assigning_authorities) or 'null'})",
        "$system": quoted(of.system),
        "$is_accession_number_of_stay": str(contract.is_accession_number_of_stay).lower(),
    }
    sql = (HERE / f"{name}.sql").read_text(encoding="utf-8")
    for word, literal in said.items():
        sql = sql.replace(word, literal)
    return sql
