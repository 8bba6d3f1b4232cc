"""A new source of each kind takes in a first sample: what it was not told is quarantined, the rest is history."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from integrations.ingest import IngestPlaces, IngestResult, ingest
from integrations.lake import Lake
from integrations.records import Records
from integrations.tables import TABLES
from tests.integrations.hl7v2.conftest import MSH, OBR, obx
from tests.integrations.ingest.conftest import encounter, patient, result

RECEIVED_AT = datetime(2024, 6, 1, tzinfo=UTC)
SYSTEM = "http://example.org/north/mrn"
TABLES_SENT = {
    "patients.csv": "patient_id,mrn,birth_date,sex,deceased_at\np1,m1,1950-01-01,F,\np2,,1960-01-01,male,2024-03-05\n",
    "stays.csv": (
        "encounter_id,patient_id,class,admission_type,admission_source,started_at,ended_at,discharge_disposition,"
        "service,updated_at\n"
        "e1,p1,Inpatient,elective,home,2024-03-01 08:00,2024-03-04 12:00,spa,surgery,2024-03-04 12:05\n"
    ),
    "wards.csv": "patient_id,encounter_id,ward,started_at,ended_at\np1,e1,W1,2024-03-01 08:00,2024-03-04 12:00\n",
    "diagnoses.csv": (
        "patient_id,encounter_id,rank,code_system,code,recorded_at\np1,e1,1,icd-10-cm,I50.9,2024-03-04 12:00\n"
    ),
    "procedures.csv": (
        "patient_id,encounter_id,procedure_id,code_system,code,performed_at\np1,e1,x1,icd-10-pcs,0DTJ4ZZ,2024-03-02\n"
    ),
    "results.csv": (
        "patient_id,encounter_id,observation_id,code,value,unit,collected_at,resulted_at\n"
        "p1,e1,o1,2160-0,1.2,mg/dL,2024-03-02 08:00,2024-03-02 09:00\n"
        "p1,e1,o2,6598-7,<0.01,ng/mL,2024-03-02 08:00,2024-03-02 09:00\n"
        "p1,,o3,2160-0,,mg/dL,2024-03-02 08:00,2024-03-02 09:00\n"
    ),
    "orders.csv": (
        "patient_id,encounter_id,medication_id,code,name,status,ordered_at,started_at,ended_at\n"
        "p1,e1,d1,0409,heparin,active,2024-03-01 09:00,2024-03-01 10:00,\n"
    ),
    "studies.csv": (
        "patient_id,encounter_id,imaging_study_id,modality,body_site,series_count,started_at\n"
        "p1,e1,s1,CT,head,2,2024-03-01 10:00\n"
    ),
}


@contextmanager
def taking_in(sources: Path, home: Path, records: Records) -> Iterator[Any]:
    """Ingest into a home whose sources are those."""
    places = IngestPlaces(landing=home / "landing", lake=Lake(home / "lake", 2), sources=sources, temp=home / "tmp")
    yield lambda source, path, **more: ingest(
        source,
        path,
        **({"as_of": RECEIVED_AT, "is_history": False, "places": places, "records": records} | more),
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def fates(done: IngestResult) -> dict[str, tuple[int, int, int, int]]:
    return {
        table: (one.mapped, one.out_of_scope, one.waiting, one.quarantined)
        for table, one in done.accounts.items()
        if one.received
    }


def test_a_warehouse_that_writes_its_tables_as_the_mapping_reads_them_is_taken_in(
    made: Path, home: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    with taking_in(made, home, sqlite_records) as take_in:
        done = take_in("north_tabular", write(tmp_path / "sent", TABLES_SENT), dry_run=True)
    assert done.quarantined == {}
    expected = {table: (1, 0, 0, 0) for table in TABLES}
    assert fates(done) == expected | {
        "patient": (2, 0, 0, 0),
        "patient_link": (1, 1, 0, 0),
        "observation": (2, 1, 0, 0),
    }


@pytest.mark.parametrize("file", sorted(TABLES_SENT))
def test_a_warehouse_may_send_one_table_alone(
    made: Path, home: Path, sqlite_records: Records, tmp_path: Path, file: str
) -> None:
    with taking_in(made, home, sqlite_records) as take_in:
        done = take_in("dwh", write(tmp_path / "sent", {file: TABLES_SENT[file]}), dry_run=True)
    assert done.quarantined == {}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("patients.csv", ",F,", ",divers,"),
        ("stays.csv", "Inpatient", "hotel"),
        ("diagnoses.csv", "icd-10-cm", "icd-11"),
        ("procedures.csv", "icd-10-pcs", "ops"),
    ],
)
def test_a_word_that_the_mapping_does_not_list_is_quarantined_and_not_guessed(
    made: Path, home: Path, sqlite_records: Records, tmp_path: Path, file: str, old: str, new: str
) -> None:
    sent = TABLES_SENT | {file: TABLES_SENT[file].replace(old, new)}
    with taking_in(made, home, sqlite_records) as take_in:
        done = take_in("north_tabular", write(tmp_path / "sent", sent), dry_run=True)
    assert done.quarantined == {"bad_value": 1}


def test_an_ehr_and_its_laboratory_are_taken_in_as_history_once_the_authority_is_decided(
    made: Path, home: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    person = patient(identifier=[{"system": SYSTEM, "value": "M1"}])
    ehr = {
        "Patient.ndjson": json.dumps(person),
        "Encounter.ndjson": json.dumps(encounter("e7")),
        "Observation.ndjson": json.dumps(result("o1", stay="e7")),
        "Practitioner.0001.ndjson": "{}",
        "Medication.ndjson": "{}",
    }
    message = "\r".join([MSH, "PID|1||M1^^^NORTH^MR", "PV1|1|I|||||||||||||||||e7^^^NORTH^VN", OBR, obx()])
    lab = write(tmp_path / "lab", {"a.hl7": message})
    with taking_in(made, home, sqlite_records) as take_in:
        done = take_in("north_fhir", write(tmp_path / "ehr", ehr))
        assert done.quarantined == {}
        assert {table: one.mapped for table, one in done.accounts.items() if one.mapped} == {
            "patient": 1,
            "patient_link": 1,
            "encounter": 1,
            "observation": 1,
        }
        assert take_in("north_hl7v2", lab, dry_run=True).quarantined == {"foreign_patient": 2}
        contract = made / "north_hl7v2" / "contract.yaml"
        contract.write_text(contract.read_text().replace("assigning_authorities: []", "assigning_authorities: [NORTH]"))
        done = take_in("north_hl7v2", lab)
    assert fates(done) == {"patient_link": (1, 0, 0, 0), "observation": (1, 0, 0, 0)}
    lake = Lake(home / "lake", 2)
    with duckdb.connect() as connection:
        lake.open_snapshot(connection, lake.versions(), tables=["observation"], materialize=False)
        rows = connection.execute("select source, code, is_available_at_inferred from observation order by source")
        assert rows.fetchall() == [("north_fhir", "2160-0", True), ("north_hl7v2", "2160-0", True)]
