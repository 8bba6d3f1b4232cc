"""What the synthetic hospital's EHR knows at a moment: the extracts written until then, and what was deleted since."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import orjson

LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SentFile:
    """One file of an extract: resources of one type."""

    kind: str
    path: Path
    count: int


@dataclass
class Shelf:
    """The extracts under `folders`, oldest first, each with a manifest that says when it was taken.

    deletions: (when, `Type/id`), added by whoever plays the hospital.
    """

    folders: Sequence[Path]
    deletions: list[tuple[datetime, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._found: dict[tuple[str, datetime, datetime, int], list[bytes]] = {}

    def files(self, since: datetime, now: datetime, kinds: Sequence[str]) -> list[SentFile]:
        """What has changed after `since`: whole extracts, of the types asked for."""
        found = []
        for folder in self.folders:
            taken_at, files = _read(folder)
            if since < taken_at <= now:
                found += [file for file in files if file.kind in kinds or not kinds]
        return found

    def kinds(self) -> list[str]:
        """Every type that there is a file of."""
        return sorted({file.kind for folder in self.folders for file in _read(folder)[1]})

    def deleted(self, since: datetime, now: datetime, kinds: Sequence[str]) -> list[str]:
        """What was deleted after `since`, of the types asked for."""
        return [url for at, url in self.deletions if since < at <= now and (url.split("/")[0] in kinds or not kinds)]

    def resources(self, kind: str, since: datetime, now: datetime) -> list[bytes]:
        """The newest text of each resource of a type that has changed since, but for the deleted ones."""
        asked = (kind, since, now, len(self.deletions))
        if asked not in self._found:
            newest: dict[str, bytes] = {}
            for file in self.files(since, now, [kind]):
                newest |= {orjson.loads(line)["id"]: line for line in file.path.read_bytes().splitlines()}
            for url in self.deleted(LONG_AGO, now, [kind]):
                newest.pop(url.split("/")[1], None)
            self._found[asked] = list(newest.values())
        return self._found[asked]


@lru_cache(maxsize=1_000)
def _read(folder: Path) -> tuple[datetime, tuple[SentFile, ...]]:
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    files = [SentFile(each["type"], folder / each["url"], each["count"]) for each in manifest["output"]]
    return datetime.fromisoformat(manifest["transactionTime"]), tuple(files)
