"""A small hospital for each scenario, written once a session, and how to read what it wrote."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from integrations.synthetic_hospital import Hospital, HospitalFiles, write_hospital

PATIENTS, NIGHTS = 700, 40


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], HospitalFiles]:
    """`written("outage")` is the hospital of that scenario on disk."""

    @cache
    def write(scenario: str) -> HospitalFiles:
        folder = tmp_path_factory.mktemp(scenario)
        return write_hospital(Hospital(patients=PATIENTS, nights=NIGHTS, scenario=scenario), folder)

    return write


@dataclass(frozen=True, kw_only=True)
class Result:
    """One OBX with what its message says around it."""

    mrn: str
    encounter: str
    accession: str
    collected: str
    released: str
    system: str
    code: str
    value: float
    unit: str
    status: str


class Reading:
    """Reads extracts as a receiver would."""

    def resources(self, folder: Path, kind: str) -> list[dict[str, Any]]:
        """All resources of one kind in an extract."""
        paths = sorted(folder.glob(f"{kind}*.ndjson"))
        return [orjson.loads(line) for path in paths for line in path.read_bytes().splitlines()]

    def messages(self, folder: Path) -> list[list[list[str]]]:
        """All messages of a night: segments, split into fields."""
        text = (folder / "oru.hl7").read_text(encoding="utf-8").replace("\r", "\n")
        lines = [line.split("|") for line in text.splitlines()]
        begins = [place for place, fields in enumerate(lines) if fields[0] == "MSH"] + [len(lines)]
        return [lines[begin:end] for begin, end in pairwise(begins)]

    def results(self, folder: Path) -> list[Result]:
        """All results of a night."""
        return [result for message in self.messages(folder) for result in self._results(message)]

    def bytes_of(self, folder: Path) -> str:
        """One hash over all files of a folder, by name and content."""
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
        return digest.hexdigest()

    def _results(self, message: list[list[str]]) -> Iterator[Result]:
        _, patient, visit, order = message[:4]
        for obx in message[4:]:
            yield Result(
                mrn=patient[3].split("^")[0],
                encounter=visit[19].split("^")[0],
                accession=order[3],
                collected=order[7],
                released=order[22],
                system=obx[3].split("^")[2],
                code=obx[3].split("^")[0],
                value=float(obx[5]),
                unit=obx[6].split("^")[0],
                status=obx[11],
            )


@pytest.fixture(scope="session")
def reading() -> Reading:
    """How to read extracts."""
    return Reading()
