"""A PACS, an EHR that knows its patients, and a house that takes in from both."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from integrations.contract import Contract, load_contract
from integrations.dicomweb.fetch import fetch_studies
from integrations.dicomweb.wanted import WantedStudies
from integrations.fhir.export.fetch import Fetched, desk_of
from integrations.ingest import IngestResult, ledger
from integrations.lake import Lake
from integrations.records.schema import breaker
from integrations.web.ask import Server
from integrations.web.endpoint import Endpoint
from integrations.web.open import open_server
from integrations.web.patience import Patience
from tests.integrations.dicomweb.orthanc import PASSWORD, USER, Orthanc, dicom_files, running
from tests.integrations.ingest.conftest import CODES, FIRST_NIGHT, MRN, WARD, Ward, open_home, patient

FEED = "pacs"
PACS = f"""
source: pacs
owner: the reading room
site_id: north
time_zone: America/Chicago
kind: dicomweb
lateness: 1d
go_live_at: 2024-01-01T00:00:00Z
encounters_of: ward
patients_of: {{system: "{MRN}", source: ward, assigning_authorities: [""]}}
person_systems: ["{MRN}"]
qido: {{overlap: 30d, page_size: 7}}
tables:
  patient_link: {{files: ["*.ndjson"], history: {{available_at: always}}}}
  imaging_study:
    files: ["*.ndjson"]
    history: {{available_at: effective_at}}
    dates_alone: {{effective_at: end_of_day}}
"""
QUICK = Patience(tries=4, first_wait=timedelta(milliseconds=1), longest_wait=timedelta(milliseconds=10))
Study = dict[str, Any]


def study(uid: str = "1.2.3", **more: Any) -> Study:
    """A CT of m1 as a PACS tells of it, on 1 March 2024 at 10:05; `more` by keyword, null for an attribute left out."""
    said = {
        "0020000D": ("UI", uid),
        "00080020": ("DA", "20240301"),
        "00080030": ("TM", "100500"),
        "00100010": ("PN", {"Alphabetic": "Doe^Jane"}),
        "00100020": ("LO", "m1"),
        "00080061": ("CS", "CT"),
        "00201206": ("IS", 2),
    }
    numbers = {
        "StudyDate": "00080020",
        "StudyTime": "00080030",
        "TimezoneOffsetFromUTC": "00080201",
        "PatientID": "00100020",
        "IssuerOfPatientID": "00100021",
        "ModalitiesInStudy": "00080061",
        "BodyPartExamined": "00180015",
        "NumberOfStudyRelatedSeries": "00201206",
        "AccessionNumber": "00080050",
    }
    for name, value in more.items():
        said[numbers[name]] = ("", value)
    return {
        number: {"vr": vr, "Value": value if isinstance(value, list) else [value]}
        for number, (vr, value) in said.items()
        if value is not None
    }


@dataclass
class ReadingRoom:
    """A Rounds home with the feeds `ward` and `pacs`."""

    ward: Ward
    home: Path
    password: str = PASSWORD
    patience: Patience = QUICK

    @property
    def contract(self) -> Contract:
        return load_contract(FEED, self.ward.places.sources)

    def write_contract(self, text: str) -> None:
        (self.ward.places.sources / FEED / "contract.yaml").write_text(text)

    @contextmanager
    def server(self, base_url: str) -> Iterator[Server]:
        endpoint = Endpoint.model_validate({"base_url": base_url, "user": USER, "password": self.password})
        with open_server(
            endpoint,
            own_key=self.home / "secrets" / "pacs.jwk",
            records=self.ward.records,
            clock=lambda: datetime.now(UTC),
            patience=self.patience,
        ) as server:
            yield server

    def fetch(self, base_url: str, night: float = 0, *, is_whole: bool = False) -> Fetched:
        """Fetch what is to be asked for; it stays at the desk."""
        at, contract = FIRST_NIGHT + timedelta(days=night), self.contract
        with desk_of(FEED, self.home / "exports") as desk, self.server(base_url) as server:
            everything = WantedStudies.of(contract)
            with self.ward.records.read() as db:
                until = None if is_whole else ledger.watermark_of(db, FEED, everything.digest(server.base))
            wanted = replace(everything, since=everything.dated_from(until, contract))
            return fetch_studies(wanted, server, desk, contract.limits, at=at)

    def take(self, base_url: str, night: int = 0, *, is_whole: bool = False) -> IngestResult:
        """Fetch and take in."""
        result = self.ward.ingest(self.fetch(base_url, night, is_whole=is_whole).folder, night=night, source=FEED)
        shutil.rmtree(self.home / "exports" / FEED)
        return result

    def bring(self, *studies: Study, night: int = 0) -> IngestResult:
        """Take in studies from a file."""
        self.ward.sent += 1
        folder = self.ward.scratch / f"brought{self.ward.sent}"
        folder.mkdir(parents=True)
        (folder / "answer.json").write_text(json.dumps(studies))
        return self.ward.ingest(folder, night=night, source=FEED)

    def know(self, *identifiers: str, night: int = 0) -> None:
        """Let the EHR bring patients, each with one of these numbers."""
        people = [patient(f"of-{number}", number) for number in identifiers]
        self.ward.ingest(self.ward.extract(Patient=people), night=night)

    def ask_from(self, day: str) -> None:
        """Let the contract ask for no study before a day, for a story that needs only a few."""
        self.write_contract(PACS.replace("page_size: 7", f"page_size: 7, first_date: {day}"))

    def close_circuit(self) -> None:
        """As if the PACS had answered again."""
        with self.ward.records.begin() as db:
            db.execute(delete(breaker))

    def studies(self, columns: str = "imaging_study_id, modality, body_site, series_count") -> list[tuple[Any, ...]]:
        """The newest version of each study."""
        newest = "superseded_at = timestamptz 'infinity'"
        return self.ward.rows(f"select {columns} from imaging_study where {newest} order by all")


@pytest.fixture(scope="session")
def empty_room(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """The home of a reading room that has received nothing."""
    place = tmp_path_factory.mktemp("reading_room") / "home"
    for source, contract in (("ward", WARD), (FEED, PACS)):
        (place / "sources" / source).mkdir(parents=True)
        (place / "sources" / source / "contract.yaml").write_text(contract)
        (place / "sources" / source / "codes.csv").write_text(CODES if source == "ward" else CODES.splitlines()[0])
    Lake(place / "lake", 2).create()
    shutil.copy(sqlite_template, place / "records.db")
    return place


@pytest.fixture
def make_room(tmp_path: Path, empty_room: Path) -> Iterator[Callable[[str], ReadingRoom]]:
    """Make reading rooms that have received nothing, each with a home of its own."""
    opened: list[ReadingRoom] = []

    def make(name: str) -> ReadingRoom:
        shutil.copytree(empty_room, tmp_path / name)
        opened.append(ReadingRoom(open_home(tmp_path / name), tmp_path / name))
        return opened[-1]

    yield make
    for room in opened:
        room.ward.records.close()


@pytest.fixture
def room(make_room: Callable[[str], ReadingRoom]) -> ReadingRoom:
    """A reading room that has received nothing."""
    return make_room("room")


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an Orthanc that holds every test file of pydicom that it takes."""
    folder = tmp_path_factory.mktemp("orthanc") / "filled"
    with running(folder) as pacs:
        assert sum(pacs.store(path.read_bytes()) for path in dicom_files()) > 100
    return folder


@pytest.fixture(scope="session")
def pacs(filled: Path) -> Iterator[Orthanc]:
    """A PACS that nobody changes."""
    with running(filled, is_kept=False) as opened:
        yield opened


@pytest.fixture
def own_pacs(filled: Path, pacs: Orthanc, tmp_path: Path) -> Iterator[Orthanc]:
    """A PACS of its own for a story that changes it, with the same files."""
    shutil.copytree(filled / "storage", tmp_path / "own_pacs" / "storage")
    with running(tmp_path / "own_pacs", is_kept=False) as opened:
        yield opened


def patients_of(pacs: Orthanc) -> list[str]:
    """The numbers of the patients whom a PACS knows, by its own interface."""
    found = pacs.client.get("/patients", params={"expand": ""}).json()
    return sorted({one["MainDicomTags"].get("PatientID", "").strip() for one in found} - {""})
