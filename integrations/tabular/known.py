"""What is known of the facts of a table already, for a mapping whose files tell only a part of a fact."""

import duckdb

from integrations.contract import Contract
from integrations.duck import quoted
from integrations.tables import NEWEST_FIRST, TABLES


def open_known(connection: duckdb.DuckDBPyConnection, contract: Contract, table: str) -> None:
    """Make the relation known_<table>: of each fact of the feed that is not withdrawn the newest version, as a mapping
    would give it: ids as the feed writes them, instants as texts in UTC."""
    declared, scope = TABLES[table], quoted(f"{contract.source}/")
    columns = []
    for column in declared.columns:
        name = f'"{column.name}"'
        if column.name in (declared.key, "encounter_id"):
            name = f"substr({name}, length({scope}) + 1)"
        elif column.kind == "instant":
            name = f"strftime({name} at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
        columns.append(f'{name} as "{column.name}"')
    connection.execute(
        f"""
        create or replace temp view known_{table} as
        select {", ".join(columns)}
        from every_{table}
        where source = {quoted(contract.source)}
        qualify not is_retracted and row_number() over (
            partition by {declared.key} order by {NEWEST_FIRST}
        ) = 1
        """
    )
