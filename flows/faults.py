"""What may be said of a fault of ours: its kind and its place. A library may have put a patient into its message."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integrations.errors import RoundsError


@contextmanager
def hidden_messages() -> Iterator[None]:
    """Let through what was written for people, and the system's own errors; of any other, only kind and place."""
    try:
        yield
    except (RoundsError, OSError):
        raise
    except Exception as error:
        raise without_message(error) from None


def without_message(error: Exception) -> RoundsError:
    """Name the kind of an error and the last place of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename]
    shown = ours[-1] if ours else frames[-1]
    return RoundsError(
        f"unexpected {type(error).__name__}; its message may name a patient, so it is not shown",
        where=f"{Path(shown.filename).name}, line {shown.lineno}, in {shown.name}",
        to_do="this is a fault of Rounds: report the kind and the place",
    )
