"""The one way to open DuckDB: UTC, no extension from the network, bounded memory, one connection per task."""

from pathlib import Path

import duckdb


def connect(temp: Path, *, memory_limit_mb: int = 400, threads: int = 2) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that spills to `temp` and never fetches anything."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{memory_limit_mb}MB",
            "temp_directory": str(temp),
            "threads": str(threads),
        }
    )
    connection.execute("set TimeZone = 'UTC'")
    return connection


def quoted(text: str | Path) -> str:
    """Return a SQL string literal, for paths and names of ours; what a feed sent is a bound value or a column."""
    return "'" + str(text).replace("'", "''") + "'"
