"""The columns of a view in SQL: what depends on the resource alone before its rows are spread, the rest after."""

import re
from dataclasses import dataclass, field

from integrations.fhir.sql_on_fhir.expressions import place_of
from integrations.fhir.sql_on_fhir.selection import Alternative


@dataclass
class Columns:
    """`early` are named "column.branch": a row carries plain values more cheaply than the lists they come from."""

    early: list[tuple[str, str]] = field(default_factory=list)
    late: list[tuple[str, str]] = field(default_factory=list)


def unspread(row: Alternative) -> Columns:
    """Return the columns of a view that gives one row per resource."""
    return Columns(late=[(column.name, column.sql) for column in row.columns])


def spread(rows: list[Alternative]) -> Columns:
    """Return the columns of a view that loops or has several branches."""
    variables = {name for row in rows for loop in row.loops for name in (loop.variable, place_of(loop.variable))}
    of_a_loop = re.compile(rf"\b({'|'.join(sorted(variables))})\b" if variables else r"(?!)")
    found = Columns()

    def settled(name: str, branch: int, sql: str) -> str:
        if of_a_loop.search(sql) or "resource" not in sql:
            return sql
        early = f'"{name}.{branch}"'
        found.early.append((early, sql))
        return early

    for at, column in enumerate(rows[0].columns):
        sqls = [row.columns[at].sql for row in rows]
        if len(set(sqls)) == 1:
            found.late.append((column.name, settled(column.name, 1, sqls[0])))
        else:
            cases = [f"when {number} then {settled(column.name, number, sql)}" for number, sql in enumerate(sqls, 1)]
            found.late.append((column.name, f"case branch {' '.join(cases)} end"))
    return found
