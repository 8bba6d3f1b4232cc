"""One extract of the EHR on disk: NDJSON files as a FHIR bulk export names them, and their manifest."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import orjson

from integrations.synthetic_hospital.fhir import Resource

OBSERVATIONS_PER_FILE = 100_000


class BulkExport:
    """A folder that is appended to, bucket by bucket, and closed by its manifest."""

    def __init__(self, folder: Path, observations_per_file: int = OBSERVATIONS_PER_FILE) -> None:
        folder.mkdir(parents=True)
        (folder / "Patient.ndjson").touch()  # a night in which nothing changed is an extract too
        self._folder, self._per_file = folder, observations_per_file
        self._counts = {"Patient.ndjson": 0}  # lines by file name

    def add_resources(self, kind: str, resources: Iterable[Resource]) -> None:
        """Append resources to the one file of their kind."""
        lines = [orjson.dumps(resource).decode() for resource in resources]
        self._append(f"{kind}.ndjson", lines)

    def add_observations(self, lines: list[str]) -> None:
        """Append lines to the newest file of observations, and begin another one when it is full."""
        while lines:
            name, room = self._observation_file()
            self._append(name, lines[:room])
            lines = lines[room:]

    def finish(self, taken_at: datetime) -> None:
        """Write the manifest."""
        output = [{"type": name.split(".")[0], "url": name, "count": count} for name, count in self._counts.items()]
        manifest = {
            "transactionTime": taken_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "request": "https://ehr.example.org/fhir/$export",
            "requiresAccessToken": False,
            "output": output,
            "error": [],
        }
        (self._folder / "manifest.json").write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))

    @property
    def resource_count(self) -> int:
        return sum(self._counts.values())

    def _observation_file(self) -> tuple[str, int]:
        """The newest file of observations, and how many more it may hold."""
        place = 0
        while not (room := self._per_file - self._counts.get(name := f"Observation.{place:03d}.ndjson", 0)):
            place += 1
        return name, room

    def _append(self, name: str, lines: list[str]) -> None:
        if lines:
            with (self._folder / name).open("a", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
            self._counts[name] = self._counts.get(name, 0) + len(lines)
