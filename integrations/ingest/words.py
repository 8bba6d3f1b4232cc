"""Columns that repeat a few words.

DuckDB keeps such a column as numbers that stand for words (ENUM), which spares a third of the work of writing Parquet;
the files hold plain text all the same.
"""

from collections.abc import Iterable

import duckdb

from integrations.duck import quoted

# The words of tables.py for an observation; another one is a bad_value.
CLOSED_LISTS: dict[str, dict[str, tuple[str, ...]]] = {
    "observation": {
        "category": ("laboratory", "vital_signs", "survey", "social_history", "other"),
        "status": ("preliminary", "final", "corrected", "entered_in_error"),
    }
}


def word_type(words: Iterable[str | None]) -> str:
    """The type of a column that holds only these words, in their order as texts."""
    known = sorted({word for word in words if word is not None}) or [""]
    return f"enum({', '.join(quoted(word) for word in known)})"


def word_sql(word: str) -> str:
    """The expression of one word, the same in all rows, as a word of its type."""
    return f"{quoted(word)}::{word_type([word])}"


def kinds_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """The type of each column."""
    return {str(name): str(kind) for name, kind, *_ in connection.execute(f"describe {relation}").fetchall()}
