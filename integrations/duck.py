"""The one way to open DuckDB: UTC, no extension from the network, bounded memory, one connection per task."""

from pathlib import Path

import duckdb


def connect(
    temp: Path, *, memory_limit_mb: int = 400, threads: int = 2, is_on_disk: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB that spills to `temp` and never fetches anything.

    Its tables lie in memory, or `is_on_disk` in a file in `temp` that nobody keeps: for tables of any size, since
    DuckDB cannot spill all of a table in memory.
    """
    connection = duckdb.connect(
        temp / "tables.duckdb" if is_on_disk else ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{memory_limit_mb}MB",
            "temp_directory": str(temp),
            "threads": str(threads),
        },
    )
    connection.execute("set TimeZone = 'UTC'")
    if is_on_disk:  # to compress what is read a few times, or to tidy within a table, costs more than it spares
        connection.execute("set force_compression = 'uncompressed'")
        connection.execute("set checkpoint_threshold = '1TB'")
        connection.execute("pragma disable_checkpoint_on_shutdown")
    return connection


def lock(connection: duckdb.DuckDBPyConnection, *folders: Path) -> None:
    """From here on only these folders are read and written, and no setting changes.

    DuckDB takes SQL and data files for trusted, so this comes before it sees what came from outside.
    """
    allowed = ", ".join(quoted(f"{each}/") for folder in folders for each in dict.fromkeys((folder, folder.resolve())))
    connection.execute(f"set allowed_directories = [{allowed}]")  # before the next, which forbids it
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def quoted(text: str | Path) -> str:
    """Return a SQL string literal, for paths and names of ours; what a feed sent is a bound value or a column."""
    return "'" + str(text).replace("'", "''") + "'"
