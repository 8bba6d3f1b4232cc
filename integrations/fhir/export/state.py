"""What an export has come to, on disk, so that whoever goes on with it, goes on from there."""

import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from integrations.durable import write_whole

FILE_NAME = "export.json"
VERSION = 1  # of the state: that of another version of Rounds is not gone on with


@dataclass(frozen=True, kw_only=True)
class State:
    """asked: the request, by which one sees that it is the same. status_url, pages: of a bulk export, once known.

    search: per type how far its pages have come. faults: commands that ended since the server was away.
    """

    asked: str
    status_url: str = ""
    pages: list[dict[str, Any]] = field(default_factory=list)
    search: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_done: bool = False
    faults: int = 0
    version: int = VERSION


@dataclass(frozen=True)
class Desk:
    """The folder of one feed's export: its state, and the files that have come."""

    folder: Path

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def open(self, asked: str) -> State:
        """Return the state of this very request; that of another one is cleared away."""
        try:
            state = State(**orjson.loads((self.folder / FILE_NAME).read_bytes()))
            if (state.asked, state.version) == (asked, VERSION):
                return state
        except (OSError, orjson.JSONDecodeError, TypeError):
            pass
        return self.begin(asked)

    def begin(self, asked: str) -> State:
        """Start anew with an empty folder."""
        self.clear()
        self.folder.mkdir(mode=0o700)
        self.files.mkdir(mode=0o700)
        return self.keep(State(asked=asked))

    def keep(self, state: State, **changes: Any) -> State:
        """Write the state down, and return it as it is now."""
        now = replace(state, **changes)
        write_whole(self.folder / FILE_NAME, orjson.dumps(asdict(now)))
        return now

    def clear(self) -> None:
        """Remove everything: the export has landed, or another one is asked for."""
        shutil.rmtree(self.folder, ignore_errors=True)
