"""MIMIC-IV demo: what each mapping says of a patient, told on hand-made rows; and the counts of the real extract."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pytest

from integrations.codes import load_codes
from integrations.contract import SOURCES, load_contract
from integrations.duck import connect
from integrations.ingest import IngestPlaces, ingest
from integrations.lake import Lake
from integrations.records import open_records
from integrations.tables import TABLES
from integrations.tabular.staging import stage_tabular

FOLDER = SOURCES / "mimic4_demo"
REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "mimic4_demo"
ADMISSIONS = (
    "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admission_location,discharge_location,"
    "edregtime,edouttime,hospital_expire_flag"
)
STAY = "1,11,2150-03-01 10:00:00,2150-03-04 12:00:00,,EW EMER.,EMERGENCY ROOM,HOME,2150-03-01 06:00:00,,0"

RECORDS = {
    "patient": 100,
    "patient_link": 100,
    "encounter": 275,
    "encounter_location": 1190,
    "condition": 4506,
    "procedure": 722,
    "observation": 107_549 + 2964,
    "medication": 18_087,
}


class Extract:
    """A hand-made extract: every file there, empty but for what a story sends."""

    def __init__(self, root: Path) -> None:
        self.root, self.connection = root, connect(root / "spill")
        (root / "hosp").mkdir()
        self.send("patients", "subject_id,gender,anchor_age,anchor_year,dod", "1,F,60,2150,")
        self.send("admissions", ADMISSIONS, STAY)
        self.send("services", "subject_id,hadm_id,transfertime,prev_service,curr_service")
        self.send("omr", "subject_id,chartdate,seq_num,result_name,result_value")
        self.send_labs()

    def send(self, name: str, header: str, *rows: str) -> None:
        (self.root / "hosp" / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")

    def send_labs(self, *rows: tuple[int, str, int, str, float | None]) -> None:
        names = ("subject_id", "time", "itemid", "uom", "value")
        types = (pa.int64(), pa.string(), pa.int64(), pa.string(), pa.float32())
        columns = [[row[at] for row in rows] for at in range(len(names))]
        frame = pa.table([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names)
        frame = frame.set_column(1, "time", frame["time"].cast(pa.timestamp("us")))
        pyarrow.parquet.write_table(frame, self.root / "hosp" / "labevents_from_meds.parquet")

    def staged(self, table: str, columns: str) -> list[tuple[object, ...]]:
        contract = load_contract("mimic4_demo")
        name = stage_tabular(self.connection, contract, table, folder=FOLDER, root=self.root)
        return self.connection.execute(f"select {columns} from {name} order by record_file, record_line").fetchall()


@pytest.fixture
def extract(tmp_path: Path) -> Extract:
    return Extract(tmp_path)


def test_of_the_birth_only_the_year_is_known(extract: Extract) -> None:
    extract.send(
        "patients", "subject_id,gender,anchor_age,anchor_year,dod", "1,F,60,2150,", "2,M,18,2110,", "3,,91,2150,"
    )
    assert extract.staged("patient", "patient_id, birth_date, sex") == [
        ("1", "2090-01-01", "female"),
        ("2", "2092-01-01", "male"),
        ("3", "2059-01-01", "unknown"),
    ]
    assert extract.staged("patient_link", "system, value, patient_id")[0] == ("urn:mimic-iv:subject_id", "1", "1")


def test_a_death_in_the_hospital_has_its_hour_and_one_at_home_its_date(extract: Extract) -> None:
    died = "1,11,2150-03-01 10:00:00,2150-03-04 12:00:00,2150-03-04 11:30:00,URGENT,,DIED,,,1"
    extract.send("admissions", ADMISSIONS, died)
    extract.send(
        "patients",
        "subject_id,gender,anchor_age,anchor_year,dod",
        "1,F,60,2150,2150-03-04",
        "2,F,60,2150,2150-05-01",
        "3,F,60,2150,",
    )
    assert extract.staged("patient", "deceased_at") == [("2150-03-04 11:30:00",), ("2150-05-01",), (None,)]
    assert extract.staged("encounter", "discharge_disposition") == [("died",)]


@pytest.mark.parametrize(
    ("sent", "encounter_class", "admission_type"),
    [
        ("EW EMER.", "inpatient", "emergency"),
        ("DIRECT EMER.", "inpatient", "emergency"),
        ("URGENT", "inpatient", "urgent"),
        ("ELECTIVE", "inpatient", "elective"),
        ("SURGICAL SAME DAY ADMISSION", "inpatient", "elective"),
        ("OBSERVATION ADMIT", "inpatient", "observation"),
        ("EU OBSERVATION", "observation", "observation"),
        ("DIRECT OBSERVATION", "observation", "observation"),
        ("AMBULATORY OBSERVATION", "observation", "observation"),
    ],
)
def test_an_admission_type_says_class_and_urgency(
    extract: Extract, sent: str, encounter_class: str, admission_type: str
) -> None:
    extract.send("admissions", ADMISSIONS, STAY.replace("EW EMER.", sent))
    assert extract.staged("encounter", "class, admission_type, problem") == [(encounter_class, admission_type, None)]


def test_an_admission_type_that_nobody_declared_is_set_aside(extract: Extract) -> None:
    extract.send("admissions", ADMISSIONS, STAY.replace("EW EMER.", "BY BALLOON"))
    assert extract.staged("encounter", "problem, problem_detail") == [("bad_value", "admission_type")]


def test_a_stay_begins_with_its_first_service_and_ends_where_it_was_discharged_to(extract: Extract) -> None:
    header = "subject_id,hadm_id,transfertime,prev_service,curr_service"
    extract.send("services", header, "1,11,2150-03-03 09:00:00,MED,SURG", "1,11,2150-03-01 10:00:00,,MED")
    row = extract.staged(
        "encounter", "encounter_id, service, started_at, ended_at, admission_source, discharge_disposition"
    )
    assert row == [("11", "MED", "2150-03-01 10:00:00", "2150-03-04 12:00:00", "emergency_department", "home")]


def test_a_patient_still_in_the_house_has_no_disposition_and_one_without_a_location_has_other(extract: Extract) -> None:
    in_house = "1,12,2150-05-01 10:00:00,,,URGENT,,,,,0"
    unsaid = "1,13,2150-06-01 10:00:00,2150-06-02 10:00:00,,EU OBSERVATION,,,,,0"
    extract.send("admissions", ADMISSIONS, in_house, unsaid)
    assert extract.staged("encounter", "ended_at is null, discharge_disposition") == [(True, None), (False, "other")]


def test_transfers_are_wards_and_the_row_of_the_discharge_is_none(extract: Extract) -> None:
    extract.send(
        "transfers",
        "subject_id,hadm_id,transfer_id,eventtype,careunit,intime,outtime",
        "1,11,31,admit,Medicine,2150-03-01 10:00:00,2150-03-04 12:00:00",
        "1,11,32,discharge,,2150-03-04 12:00:00,",
        "1,,33,ED,Emergency Department,2150-08-01 10:00:00,2150-08-01 15:00:00",
    )
    assert extract.staged("encounter_location", "location_id, encounter_id, ward, is_empty, out_of_scope_reason") == [
        ("31", "11", "Medicine", False, None),
        (None, "11", None, True, "no_location"),
        ("33", None, "Emergency Department", False, None),
    ]


def test_diagnoses_and_procedures_are_ranked_by_stay_and_coded_in_two_revisions(extract: Extract) -> None:
    extract.send(
        "diagnoses_icd",
        "subject_id,hadm_id,seq_num,icd_code,icd_version",
        "1,11,1,5723,9",
        "1,11,2,K7290 ,10",
        "1,11,3,X,8",
    )
    assert extract.staged(
        "condition", "condition_id, encounter_id, kind, code_system, code, rank, effective_at, problem"
    ) == [
        ("11#1", "11", "billing", "icd-9-cm", "5723", 1, "2150-03-01 10:00:00", None),
        ("11#2", "11", "billing", "icd-10-cm", "K7290", 2, "2150-03-01 10:00:00", None),
        ("11#3", "11", "billing", "icd-8-cm", "X", 3, "2150-03-01 10:00:00", "bad_value"),
    ]
    header = "subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version"
    extract.send(
        "procedures_icd", header, "1,11,1,3/2/2150,5491,9", "1,11,2,2150-03-03,0W9G3ZZ,10", "1,11,3,soon,5491,7"
    )
    assert extract.staged("procedure", "procedure_id, effective_at, code_system, code, problem_detail") == [
        ("11#1", "2150-03-02", "icd-9-pcs", "5491", None),
        ("11#2", "2150-03-03", "icd-10-pcs", "0W9G3ZZ", None),
        ("11#3", "soon", "icd-7-pcs", "5491", "icd_version"),
    ]


def test_an_order_stopped_before_its_start_never_ran(extract: Extract) -> None:
    extract.send(
        "prescriptions",
        "subject_id,hadm_id,pharmacy_id,starttime,stoptime,drug_type,drug,ndc",
        "1,11,7,2150-03-01 12:00:00,2150-03-02 12:00:00,MAIN,Furosemide,00409610204",
        "1,11,7,2150-03-01 12:00:00,2150-03-02 12:00:00,BASE,NS,0",
        "1,11,8,2150-03-02 12:00:00,2150-03-02 11:00:00,MAIN,Heparin,",
        "1,11,9,2150-03-02 12:00:00,,MAIN,Aspirin,",
    )
    rows = extract.staged("medication", "name, code_system, code, status, ended_at, medication_id")
    assert [row[:5] for row in rows] == [
        ("Furosemide", "ndc", "00409610204", "completed", "2150-03-02 12:00:00"),
        ("NS", None, None, "completed", "2150-03-02 12:00:00"),
        ("Heparin", None, None, "cancelled", None),
        ("Aspirin", None, None, "unknown", None),
    ]
    assert len({row[5] for row in rows}) == 4


def test_a_laboratory_result_belongs_to_the_stay_in_whose_hours_it_was_taken(extract: Extract) -> None:
    extract.send_labs(
        (1, "2150-03-01 07:00:00", 50912, "mg/dL", 1.1),
        (1, "2150-03-04 12:00:01", 50912, "mg/dL", 1.2),
        (2, "2150-03-02 07:00:00", 50912, "mg/dL", 1.3),
        (1, "2150-03-02 07:00:00", 50971, "mEq/L", None),
    )
    assert extract.staged(
        "observation", "encounter_id, local_code, value_number, unit, is_empty, out_of_scope_reason"
    ) == [
        ("11", "50912", 1.1, "mg/dL", False, None),
        (None, "50912", 1.2, "mg/dL", False, None),
        (None, "50912", 1.3, "mg/dL", False, None),
        ("11", "50971", None, "mEq/L", True, "no_value"),
    ]


def test_a_laboratory_row_sent_twice_is_one_fact_and_another_value_is_another(extract: Extract) -> None:
    extract.send_labs(*((1, "2150-03-01 07:00:00", 50912, "mg/dL", value) for value in (1.1, 1.1, 1.4)))
    (first,), (again,), (other,) = extract.staged("observation", "observation_id")
    assert first == again
    assert other != first


def test_a_blood_pressure_is_two_readings_and_an_answer_that_is_no_number_stays_words(extract: Extract) -> None:
    extract.send(
        "omr",
        "subject_id,chartdate,seq_num,result_name,result_value",
        "1,2150-03-01,1,Blood Pressure,120/80",
        "1,2150-03-01,1,Weight (Lbs),150.5",
        "1,2150-03-01,1,Blood Pressure Lying,110/70",
    )
    columns = "local_code, value_number, unit, value_text, effective_at, category"
    rows = extract.staged("observation", columns)
    assert sorted(rows, key=str) == [
        ("Blood Pressure Lying", None, None, "110/70", "2150-03-01", "vital_signs"),
        ("Blood Pressure, diastolic", 80.0, "mm[Hg]", None, "2150-03-01", "vital_signs"),
        ("Blood Pressure, systolic", 120.0, "mm[Hg]", None, "2150-03-01", "vital_signs"),
        ("Weight (Lbs)", 150.5, "[lb_av]", None, "2150-03-01", "vital_signs"),
    ]


def test_every_code_that_the_mappings_give_is_declared() -> None:
    meanings = {(meaning.local_system, meaning.local_code): meaning for meaning in load_codes(FOLDER)}
    assert meanings["urn:mimic-iv:d_labitems", "50912"].loinc == "2160-0"
    assert meanings["urn:mimic-iv:d_labitems", "52024"].loinc == "38483-4"
    assert meanings["urn:mimic-iv:d_labitems", "50813"].loinc is None
    assert meanings["urn:mimic-iv:omr", "Blood Pressure, systolic"].loinc == "8480-6"


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """The real extract, ingested as history; its relations as of all times."""
    if not REAL.is_dir():
        pytest.skip("../shared/data/mimic4_demo is not beside the project")
    home = tmp_path_factory.mktemp("mimic4_demo")
    lake = Lake(home / "lake", 2)
    records = open_records(f"sqlite:///{home / 'records.db'}")
    places = IngestPlaces(landing=home / "landing", lake=lake, sources=SOURCES, temp=home / "tmp")
    result = ingest(
        "mimic4_demo", REAL, as_of=datetime(2026, 1, 1, tzinfo=UTC), is_history=True, places=places, records=records
    )
    assert all(account.balances for account in result.accounts.values())
    assert {name: account.received for name, account in result.accounts.items() if name in TABLES} == RECORDS
    connection = connect(home / "spill")
    lake.open_snapshot(connection, lake.versions())
    return connection


def test_275_stays_of_100_patients_come_out_and_15_of_them_died(taken_in: duckdb.DuckDBPyConnection) -> None:
    [counts] = taken_in.execute(
        """
        select
            count(distinct encounter_id),
            count(distinct patient_id),
            count(*) filter (discharge_disposition = 'died'),
            count(*) filter (ended_at is null)
        from encounter
        """
    ).fetchall()
    assert counts == (275, 100, 15, 275)  # each stay was first known as begun


def test_of_260_live_discharges_53_are_followed_by_an_admission_within_30_days(
    taken_in: duckdb.DuckDBPyConnection,
) -> None:
    [counts] = taken_in.execute(
        """
        with stay as (
            select *
            from encounter
            where superseded_at = 'infinity'
        ),
        live_discharge as (
            select *
            from stay
            where discharge_disposition <> 'died'
        ),
        followed as (
            select live_discharge.encounter_id, live_discharge.ended_at, arg_min(later, later.started_at) as later
            from live_discharge
            left join stay later
                on later.patient_id = live_discharge.patient_id
                and later.started_at between live_discharge.ended_at and live_discharge.ended_at + interval 30 day
            group by all
        )
        select
            count(*),
            count(later),
            count(*) filter (later.admission_type in ('emergency', 'urgent')),
            count(*) filter (later.admission_type = 'observation'),
            count(*) filter (later.started_at < ended_at + interval 24 hour)
        from followed
        """
    ).fetchall()
    assert counts == (260, 53, 30, 19, 4)


def test_no_diagnosis_is_known_at_the_discharge_that_it_belongs_to(taken_in: duckdb.DuckDBPyConnection) -> None:
    rows = taken_in.execute(
        """
        select distinct condition.available_at - encounter.ended_at, condition.is_available_at_inferred
        from condition
        join encounter on encounter.encounter_id = condition.encounter_id and encounter.ended_at is not null
        """
    ).fetchall()
    assert rows == [(timedelta(days=7), True)]


def test_laboratory_results_come_in_the_house_unit_and_impossible_readings_do_not(
    taken_in: duckdb.DuckDBPyConnection,
) -> None:
    units = dict(taken_in.execute("select code, string_agg(distinct unit) from observation group by code").fetchall())
    assert units["2160-0"] == "mg/dL"
    assert units["2823-3"] == "mmol/L"
    assert units["8302-2"] == "cm"
    [(lowest, highest)] = taken_in.execute(
        "select min(value_number), max(value_number) from observation where code = '39156-5'"
    ).fetchall()
    assert 5 <= lowest < highest <= 250
