"""Put many rows into one table quickly, and ask for many, by the same words in SQLite and Postgres."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Dialect, Table

T = TypeVar("T")
NAMED_AT_ONCE = 10_000  # ids or the like, in one statement


@dataclass(frozen=True)
class Every:
    """One value that all rows of an insert share."""

    value: object


def insert_rows(
    connection: Connection,
    table: Table,
    columns: Mapping[str, Collection[Any] | Every],
    *,
    skip_existing: bool = False,
) -> int:
    """Insert rows given column by column (lists or numpy arrays of one length) and return how many went in.

    A column not given is null. With `skip_existing`, a row whose key or unique columns stand in the table already is
    left as it stands; any other rule of the table still raises.
    """
    dialect = connection.dialect
    lengths = {len(values) for values in columns.values() if not isinstance(values, Every)}
    if len(lengths) != 1:
        raise ValueError(f"columns of {table.name} differ in length: {sorted(lengths)}")
    if not lengths.pop():
        return 0
    rows = list(zip(*(_as_sent(table.c[name], values, dialect) for name, values in columns.items()), strict=False))
    quote = dialect.identifier_preparer.quote
    mark = "%s" if dialect.paramstyle == "pyformat" else "?"
    statement = (
        f"insert into {quote(table.name)} ({', '.join(quote(name) for name in columns)}) "
        f"values ({', '.join([mark] * len(columns))})" + (" on conflict do nothing" if skip_existing else "")
    )
    return connection.exec_driver_sql(statement, rows).rowcount


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows that are not there yet, and return how many were new. A name missing in a row is null."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    return insert_rows(connection, table, columns, skip_existing=True) if rows else 0


def in_slices(named: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut what a question names into as much as one statement takes."""
    return (named[first : first + NAMED_AT_ONCE] for first in range(0, len(named), NAMED_AT_ONCE))


def _as_sent(column: Column[Any], values: Collection[Any] | Every, dialect: Dialect) -> Iterable[Any]:
    """The values as the driver takes them; a shared value is converted once."""
    process: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).bind_processor(dialect)
    if isinstance(values, Every):
        return repeat(process(values.value) if process else values.value)
    plain = values.tolist() if hasattr(values, "tolist") else values
    if process is None:
        return plain
    return map(process, plain)
