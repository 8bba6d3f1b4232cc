"""A ward whose EHR sends FHIR each night, and a laboratory that knows its patients by their MRN."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from integrations.duck import connect
from integrations.ingest import IngestPlaces, IngestResult, ingest, ledger, quarantine_report, tables_report
from integrations.lake import Lake
from integrations.records import Records, open_records

MRN = "urn:oid:1.2.3"
NATIONAL = "urn:oid:9.9.1"
FIRST_NIGHT = datetime(2024, 3, 10, 5, tzinfo=UTC)

WARD = f"""
source: ward
owner: the ward
site_id: north
time_zone: America/Chicago
kind: fhir
lateness: 1d
go_live_at: 2024-01-01T00:00:00Z
person_systems: ["{MRN}", "{NATIONAL}"]
files_out_of_scope: {{"Practitioner*.ndjson": not about patients}}
tables:
  patient: {{files: ["Patient*.ndjson"], history: {{available_at: always}}}}
  patient_link: {{files: ["Patient*.ndjson"], history: {{available_at: always}}}}
  encounter: {{files: ["Encounter*.ndjson"], history: {{available_at: started_at}}}}
  condition: {{files: ["Condition*.ndjson"], history: {{available_at: encounter_ended_at, plus: 7d}}}}
  procedure:
    files: ["Procedure*.ndjson"]
    history: {{available_at: effective_at, plus: 2h}}
    dates_alone: {{effective_at: end_of_day}}
  observation: {{files: ["Observation*.ndjson"], history: {{available_at: issued_at}}}}
  medication: {{files: ["MedicationRequest*.ndjson"], history: {{available_at: [issued_at, started_at]}}}}
"""
LAB = f"""
source: lab
owner: the laboratory
site_id: north
time_zone: America/Chicago
kind: fhir
lateness: 1d
go_live_at: 2024-01-01T00:00:00Z
encounters_of: ward
patients_of: {{system: "{MRN}", source: ward}}
tables:
  observation: {{files: ["*.ndjson"], history: {{available_at: issued_at}}}}
"""
CODES = """local_system,local_code,loinc,unit,reason,owner
http://loinc.org,2160-0,2160-0,mg/dL,,the laboratory
http://loinc.org,2160-0,2160-0,umol/L,,the laboratory
http://loinc.org,2823-3,2823-3,mmol/L,,the laboratory
http://loinc.org,2345-7,2345-7,mg/dL,,the laboratory
http://loinc.org,8480-6,8480-6,mm[Hg],,the ward
http://loinc.org,8462-4,8462-4,mm[Hg],,the ward
http://loinc.org,8310-5,8310-5,Cel,,the ward
http://loinc.org,8310-5,8310-5,[degF],,the ward
http://loinc.org,72166-2,72166-2,,,the ward
http://loinc.org,9999-9,out_of_scope,,no use case needs it,the ward
"""


def patient(id: str = "p1", mrn: str | None = None, **more: Any) -> dict[str, Any]:
    """A patient, with an MRN where one is given."""
    identifier = {"identifier": [{"system": MRN, "value": mrn}]} if mrn else {}
    return {"resourceType": "Patient", "id": id, "birthDate": "1950-01-01", "gender": "female"} | identifier | more


def encounter(id: str = "e1", of: str = "p1", ends: str | None = None, **more: Any) -> dict[str, Any]:
    """An inpatient stay from 1 March, 08:00 in Chicago."""
    return {
        "resourceType": "Encounter",
        "id": id,
        "status": "finished" if ends else "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": f"Patient/{of}"},
        "period": {"start": "2024-03-01T08:00:00-06:00"} | ({"end": ends} if ends else {}),
    } | more


def result(id: str = "o1", value: Any = 1.0, unit: str = "mg/dL", **more: Any) -> dict[str, Any]:
    """A creatinine of p1 in e1, collected on 2 March at 10:00 and issued at 11:00 in Chicago."""
    code, of, stay = more.pop("code", "2160-0"), more.pop("of", "p1"), more.pop("stay", "e1")
    return (
        {
            "resourceType": "Observation",
            "id": id,
            "status": "final",
            "category": [{"coding": [{"code": "laboratory"}]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "subject": {"reference": f"Patient/{of}"},
            "effectiveDateTime": "2024-03-02T10:00:00-06:00",
            "issued": "2024-03-02T11:00:00.000-06:00",
            "valueQuantity": {"value": value, "unit": unit, "code": unit, "system": "http://unitsofmeasure.org"},
        }
        | ({"encounter": {"reference": f"Encounter/{stay}"}} if stay else {})
        | more
    )


def blood_pressure(id: str, systolic: float, diastolic: float, **more: Any) -> dict[str, Any]:
    """One record of two values."""
    panel = result(id, code="85354-9", **more)
    del panel["valueQuantity"]
    parts = (("8480-6", systolic), ("8462-4", diastolic))
    return panel | {
        "component": [
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
                "valueQuantity": {"value": value, "code": "mm[Hg]", "unit": "mm[Hg]"},
            }
            for code, value in parts
        ]
    }


def coded(resource: str, id: str, code: str, **more: Any) -> dict[str, Any]:
    """A condition or procedure of p1 in e1."""
    coding = {"system": "http://snomed.info/sct", "code": code}
    return {
        "resourceType": resource,
        "id": id,
        "status": "completed",
        "code": {"coding": [coding]},
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
    } | more


Line = dict[str, Any] | str | bytes


@dataclass
class Ward:
    """A Rounds home with two feeds, and a pen to write what they send."""

    places: IngestPlaces
    records: Records
    scratch: Path
    sent: int = field(default=0)

    def extract(self, **files: Sequence[Line]) -> Path:
        """Write files as the sender would: `Patient=[...]` is Patient.ndjson."""
        self.sent += 1
        folder = self.scratch / f"extract{self.sent}"
        folder.mkdir(parents=True)
        for name, lines in files.items():
            (folder / f"{name}.ndjson").write_bytes(b"".join(_line(line) for line in lines))
        return folder

    def ingest(self, path: Path | None = None, *, night: int = 0, source: str = "ward", **options: Any) -> IngestResult:
        """Ingest an extract in some night; live unless said otherwise."""
        given: dict[str, Any] = {"is_history": False, "places": self.places, "records": self.records} | options
        return ingest(source, path, as_of=FIRST_NIGHT + timedelta(days=night), **given)

    def send(
        self, *, night: int = 0, source: str = "ward", is_history: bool = False, **files: Sequence[Line]
    ) -> IngestResult:
        """Write an extract and ingest it."""
        return self.ingest(self.extract(**files), night=night, source=source, is_history=is_history)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask one table of the newest snapshot, as readers see it."""
        [table] = re.findall(r"from (\w+)", sql)
        with self.records.read() as db, connect(self.places.temp, memory_limit_mb=100, threads=1) as connection:
            _, versions = ledger.newest_snapshot(db)
            self.places.lake.open_snapshot(connection, versions, tables=[table], materialize=False)
            return connection.execute(sql).fetchall()

    def seen(self, columns: str, table: str, night: float) -> list[tuple[Any, ...]]:
        """The facts of a table as they were known in some night."""
        at = (FIRST_NIGHT + timedelta(days=night)).isoformat()
        known = f"available_at <= timestamptz '{at}' and timestamptz '{at}' < superseded_at"
        return self.rows(f"select {columns} from {table} where {known} order by all")

    def reasons(self) -> dict[str, int]:
        """Why records were set aside."""
        found: dict[str, int] = quarantine_report(self.records)["reasons"]
        return found

    def report(self, table: str, source: str = "ward") -> dict[str, Any]:
        """One row of `rounds tables`."""
        rows = tables_report(self.records, self.places, memory_limit_mb=100)
        [row] = [row for row in rows if (row["table"], row["source"]) == (table, source)]
        return row

    def with_lake(self, lake: Lake) -> "Ward":
        """The same ward with another lake door."""
        return replace(self, places=replace(self.places, lake=lake))


def _line(line: Line) -> bytes:
    if isinstance(line, bytes):
        return line
    text = line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))
    return text.encode() + b"\n"


MakeWard = Callable[[str], Ward]


@pytest.fixture(scope="session")
def empty_ward(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """The home of a ward that has received nothing, of which each story gets a copy."""
    place = tmp_path_factory.mktemp("empty_ward")
    for source, contract in (("ward", WARD), ("lab", LAB)):
        (place / "sources" / source).mkdir(parents=True)
        (place / "sources" / source / "contract.yaml").write_text(contract)
        (place / "sources" / source / "codes.csv").write_text(CODES)
    Lake(place / "lake", 2).create()
    shutil.copy(sqlite_template, place / "records.db")
    return place


@pytest.fixture(scope="session")
def warm_ward(tmp_path_factory: pytest.TempPathFactory, empty_ward: Path) -> Path:
    """The home of a ward that knows the patient p1, with MRN m1, and her stay e1."""
    place = tmp_path_factory.mktemp("warm_ward") / "ward"
    shutil.copytree(empty_ward, place)
    ward = open_home(place)
    ward.send(night=0, Patient=[patient(mrn="m1")], Encounter=[encounter()])
    ward.records.close()
    shutil.rmtree(ward.scratch)
    return place


@pytest.fixture
def make_ward(home: Path, empty_ward: Path) -> Iterator[MakeWard]:
    """Make wards that have received nothing, each with a home of its own."""
    opened = []

    def make(name: str) -> Ward:
        shutil.copytree(empty_ward, home / name)
        opened.append(open_home(home / name))
        return opened[-1]

    yield make
    for ward in opened:
        ward.records.close()


@pytest.fixture
def ward(make_ward: MakeWard) -> Ward:
    """A ward that has received nothing yet."""
    return make_ward("ward")


@pytest.fixture
def open_ward(home: Path, warm_ward: Path) -> Iterator[Ward]:
    """A ward that knows the patient p1, with MRN m1, and her stay e1."""
    shutil.copytree(warm_ward, home / "ward")
    ward = open_home(home / "ward")
    yield ward
    ward.records.close()


def open_home(place: Path) -> Ward:
    """Open the ward that lives at `place`."""
    places = IngestPlaces(
        landing=place / "landing", lake=Lake(place / "lake", 2), sources=place / "sources", temp=place / "tmp"
    )
    return Ward(places=places, records=open_records(f"sqlite:///{place / 'records.db'}"), scratch=place / "sent")
