"""Whatever door a file comes through, it goes the same way: HL7 v2, tables, packed files, a view of one's own."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from integrations.contract import load_contract
from integrations.duck import connect
from integrations.errors import NotInOrder, Refused, WrongUsage
from integrations.fhir.staging import own_view
from integrations.ingest import ledger
from integrations.ingest.judgement import Judgement
from integrations.ingest.known import open_lake
from integrations.ingest.load import Writing, forget_last, load_table
from integrations.ingest.outcomes import make_aside
from integrations.records.schema import quarantine
from integrations.tabular.staging import staged_columns
from tests.integrations.ingest.conftest import CODES, LAB, MRN, Ward, patient, result

MESSAGE = r"""MSH|^~\&|LIS|LAB|EHR|LAB|20240311040000||ORU^R01^ORU_R01|1|P|2.5.1
PID|1||m1^^^LAB&1.2.3&ISO^MR
PV1|1|I|||||||||||||||||e1^^^EHR^VN
OBR|1|P1|A1|1^Panel^L|||202403100800|||||||||||||||20240310090000|||F
OBX|1|NM|2160-0^Creatinine^LN||1.2|mg/dL|||||F
OBX|2|NM|2823-3^Potassium^LN||99|mmol/L|||||F
OBX|3|NM|2160-0^Creatinine^LN||clotted|mg/dL|||||F
"""


def test_a_laboratory_that_writes_hl7_is_read_in_its_time_zone_and_a_bad_segment_keeps_its_bytes(
    open_ward: Ward,
) -> None:
    extract = _hl7_lab(open_ward)
    (extract / "night.hl7").write_text(MESSAGE.replace("\n", "\r"))

    done = open_ward.ingest(extract, night=1, source="lab")
    observation = done.accounts["observation"]
    assert (observation.received, observation.mapped, observation.quarantined) == (3, 1, 2)
    assert open_ward.rows("select patient_id, encounter_id, value_number, effective_at::varchar from observation") == [
        ("lab/m1", "ward/e1", 1.2, "2024-03-10 13:00:00+00")
    ]
    links_of_both = open_ward.rows("select patient_id, system, value from patient_link order by all")
    assert links_of_both == [("lab/m1", MRN, "m1"), ("ward/p1", MRN, "m1")]
    with open_ward.records.read() as db:
        rows = db.execute(select(quarantine).order_by(quarantine.c.source_line)).all()
    assert [(row.reason, row.bytes[:9]) for row in rows] == [
        ("impossible_value", b"OBX|2|NM|"),
        ("bad_value", b"OBX|3|NM|"),
    ]


def test_a_result_of_a_stranger_with_the_same_number_is_quarantined_and_never_waits(open_ward: Ward) -> None:
    extract = _hl7_lab(open_ward)
    stranger = MESSAGE.replace("LAB&1.2.3&ISO", "OTHERHOSP&9.9.9.9&ISO").replace("|1.2|", "|9.9|")
    enterprise_first = MESSAGE.replace("m1^^^LAB", "x7^^^ENTERPRISE&4.4&ISO^MR~m1^^^LAB").replace("|A1|", "|A2|")
    enterprise_first = enterprise_first.replace("|ORU^R01^ORU_R01|1|", "|ORU^R01^ORU_R01|2|")
    (extract / "night.hl7").write_text((stranger + enterprise_first).replace("\n", "\r"))

    done = open_ward.ingest(extract, night=1, source="lab")
    observation, link = done.accounts["observation"], done.accounts["patient_link"]
    assert (observation.mapped, observation.waiting, observation.quarantined) == (1, 0, 5)
    assert (link.mapped, link.quarantined) == (1, 1)
    assert open_ward.reasons() == {"bad_value": 1, "foreign_patient": 4, "impossible_value": 1}
    assert open_ward.rows("select patient_id, value_number from observation") == [("lab/m1", 1.2)]


def _hl7_lab(ward: Ward) -> Path:
    """Let the laboratory write HL7, and return the folder of its next extract."""
    folder = ward.places.sources / "lab"
    contract = LAB.replace("kind: fhir", f'kind: hl7v2\nperson_systems: ["{MRN}"]').replace("*.ndjson", "*.hl7")
    links = '  patient_link: {files: ["*.hl7"], history: {available_at: always}}\n'
    (folder / "contract.yaml").write_text(contract + links)
    (folder / "codes.csv").write_text(CODES.replace("http://loinc.org", "LN"))
    return ward.extract()


def test_a_packed_file_is_unpacked_for_reading_and_lies_packed_in_landing(open_ward: Ward) -> None:
    extract = open_ward.extract(Patient=[patient("p2")])
    lines = b"".join(json.dumps(line).encode() + b"\n" for line in (result("o1", of="p2", stay=None), result("o2", 99)))
    packed = gzip.compress(lines)
    (extract / "Observation.ndjson.gz").write_bytes(packed)
    done = open_ward.ingest(extract, night=1)
    assert (done.accounts["observation"].mapped, done.quarantined) == (1, {"impossible_value": 1})
    landed = open_ward.places.landing / "ward" / done.extract_id / "Observation.ndjson.gz"
    assert landed.read_bytes() == packed
    assert open_ward.rows("select source_file, source_line from observation") == [("Observation.ndjson.gz", 1)]


WAREHOUSE = """
source: warehouse
owner: the warehouse
site_id: north
time_zone: America/Chicago
kind: tabular
lateness: 1d
inputs:
  people: {files: ["people.csv"]}
  words: {files: ["words.csv"]}
tables:
  patient: {files: ["people.csv"], mapping: patient.sql, history: {available_at: always}}
"""
MAPPING = """
select people.record_file, people.record_line, id as patient_id, born as birth_date, word as sex
from people left join words using (letter)
"""


def test_a_warehouse_table_is_mapped_by_sql_and_what_it_looks_up_is_counted_as_out_of_scope(ward: Ward) -> None:
    folder = ward.places.sources / "warehouse"
    folder.mkdir()
    (folder / "contract.yaml").write_text(WAREHOUSE)
    (folder / "patient.sql").write_text(MAPPING)
    extract = ward.extract()
    (extract / "people.csv").write_text("id,born,letter\n1,1950-02-01,f\n2,1950-02-31,m\n3,1850-01-01,m\n")
    (extract / "words.csv").write_text("letter,word\nf,female\nm,male\n")
    done = ward.ingest(extract, source="warehouse")
    assert done.quarantined == {"bad_time": 1, "impossible_time": 1}
    assert done.accounts["none"].out_of_scope == 3
    assert ward.rows("select patient_id, birth_date::varchar, sex from patient") == [
        ("warehouse/1", "1950-02-01", "female")
    ]
    with ward.records.read() as db:
        raw = [row.bytes for row in db.execute(select(quarantine).order_by(quarantine.c.source_line))]
    assert raw == [b"2,1950-02-31,m", b"3,1850-01-01,m"]


def test_a_word_that_a_mapping_makes_up_is_a_bad_value(open_ward: Ward) -> None:
    folder = open_ward.places.sources / "warehouse"
    folder.mkdir()
    tables = '  observation: {files: ["people.csv"], mapping: observation.sql, history: {available_at: issued_at}}\n'
    (folder / "contract.yaml").write_text(WAREHOUSE + tables)
    (folder / "patient.sql").write_text("select record_file, record_line, id as patient_id from people")
    (folder / "observation.sql").write_text(
        "select record_file, record_line, id as patient_id, id as observation_id, 'http://loinc.org' as local_system, "
        "'72166-2' as local_code, letter as status, born as value_text from people"
    )
    (folder / "codes.csv").write_text(CODES)
    extract = open_ward.extract()
    (extract / "people.csv").write_text("id,born,letter\n1,never,final\n2,daily,done\n")
    done = open_ward.ingest(extract, night=1, source="warehouse")
    assert done.quarantined == {"bad_value": 1}
    assert open_ward.rows("select value_text, status from observation") == [("never", "final")]


def test_an_extract_that_a_door_refuses_leaves_neither_bytes_nor_rows(ward: Ward) -> None:
    folder = ward.places.sources / "warehouse"
    folder.mkdir()
    (folder / "contract.yaml").write_text(WAREHOUSE)
    (folder / "patient.sql").write_text(MAPPING)
    extract = ward.extract()
    (extract / "people.csv").write_text("id,born,letter\n1,1950-02-01,f\n")
    with pytest.raises(Refused, match=r"has no words.csv"):
        ward.ingest(extract, source="warehouse")
    assert [path for path in ward.places.landing.rglob("*") if path.is_file()] == []
    with pytest.raises(Refused, match="no extract of warehouse waits"):
        ward.ingest(None, source="warehouse")


def test_a_source_may_bring_a_view_of_its_own(open_ward: Ward) -> None:
    folder = open_ward.places.sources / "ward"
    contract = (folder / "contract.yaml").read_text()
    (folder / "contract.yaml").write_text(contract.replace("  patient: {", "  patient: {view: people, "))
    view = own_view("patient")
    (folder / "people.json").write_text(json.dumps(view).replace('"birthDate"', '"extension.valueDate.first()"'))
    born_elsewhere = patient("p2", birthDate=None, extension=[{"url": "born", "valueDate": "1960-01-01"}])
    open_ward.send(night=1, Patient=[born_elsewhere])
    assert open_ward.rows("select birth_date::varchar from patient where patient_id = 'ward/p2'") == [("1960-01-01",)]

    (folder / "people.json").unlink()
    with pytest.raises(WrongUsage, match="view people cannot be read"):
        open_ward.send(night=2, Patient=[patient("p3")])


def test_a_door_that_loses_a_record_stops_the_ingest_before_anything_is_written(ward: Ward) -> None:
    places = ward.places
    contract = load_contract("ward", places.sources)
    with connect(places.temp) as connection:
        with ward.records.read() as db:
            open_lake(connection, places.lake, ledger.newest_snapshot(db)[1])
        make_aside(connection)
        columns = ", ".join(f'null::{kind} as "{name}"' for name, kind in staged_columns("patient").items())
        connection.execute(
            f"create view one_patient as select * replace ('Patient.ndjson' as record_file, 1 as record_line, "
            f"false as is_empty, false as is_retracted, 'p1' as patient_id) from (select {columns})"
        )
        judgement = Judgement(
            contract=contract,
            table="patient",
            received_at=datetime(2024, 3, 10, tzinfo=UTC),
            is_history=False,
            bucket_count=places.lake.bucket_count,
            files=("Patient.ndjson",),
        )
        writing = Writing(lake=places.lake, run_extract_id="ward-1", dry_run=False)
        with pytest.raises(NotInOrder, match="of 2 records 1 found"):
            load_table(connection, "one_patient", judgement, (), "ward-1", writing, 2)
        assert load_table(connection, "one_patient", judgement, (), "ward-1", writing, 1).rows_written == 1
    assert _versions(places.lake.root) == 1


def test_the_room_of_one_table_is_used_again_by_the_next(tmp_path: Path) -> None:
    sizes = []
    with connect(tmp_path, is_on_disk=True) as connection:
        for _ in range(6):
            forget_last(connection)
            connection.execute(
                "create or replace table judged as select range || repeat('x', 100) as words from range(200_000)"
            )
            sizes.append((tmp_path / "tables.duckdb").stat().st_size)
    assert sizes[0] > 10 << 20
    assert sizes[-1] < 3 * sizes[0]


def _versions(lake: Path) -> int:
    return len(list((lake / "patient" / "_delta_log").glob("*.json"))) - 1
