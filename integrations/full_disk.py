"""A disk that takes no more: one fault, in whatever words a library says it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integrations.errors import EnvironmentFault, RoundsError

# Of the system and DuckDB, of a quota or a limit on files, of SQLite, of Postgres.
WORDS = ("No space left", "File too large", "Disk quota exceeded", "disk is full", "disk I/O error", "disk full")


@contextmanager
def full_disk_is_a_fault(*folders: Path) -> Iterator[None]:
    """Raise EnvironmentFault where something could not be written for want of room, in the folder that was meant."""
    try:
        yield
    except RoundsError:
        raise
    except Exception as error:
        said = str(error)
        if not any(words in said for words in WORDS):
            raise
        meant = [str(folder) for folder in folders if str(folder) in said]
        raise EnvironmentFault(
            "the disk is full, or a file may not grow as large as it must",
            where=", ".join(meant or map(str, folders)),
            to_do="make room and run the command again; what was committed before stays as it was",
        ) from None
