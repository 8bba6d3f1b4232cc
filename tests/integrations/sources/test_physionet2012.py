"""PhysioNet 2012: what a file of a stay says, told on made ones; the names of the real ones where they are at hand."""

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from integrations.codes import load_codes
from integrations.contract import SOURCES, load_contract
from integrations.duck import connect
from integrations.ingest import IngestPlaces, IngestResult, ingest
from integrations.ingest.known import open_lake
from integrations.lake import Lake
from integrations.records import open_records
from integrations.tabular.staging import stage_tabular

FOLDER = SOURCES / "physionet2012"
NOW = datetime(2026, 1, 5, tzinfo=UTC)
HEAD = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"
DESCRIPTORS = ("Age,70", "Gender,1", "Height,-1", "ICUType,3", "Weight,81.5")


class Extract:
    """Made files of stays, and perhaps their outcomes."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root / "sent", root
        (self.root / "set-x").mkdir(parents=True)

    def stay(self, number: int, *lines: str, descriptors: tuple[str, ...] = DESCRIPTORS, record_id: str = "") -> None:
        first = [f"00:00,{line}" for line in (f"RecordID,{record_id or number}", *descriptors)]
        text = "\n".join(["Time,Parameter,Value", *first, *lines]) + "\n"
        (self.root / "set-x" / f"{number}.txt").write_text(text)

    def outcomes(self, *rows: str) -> None:
        (self.root / "Outcomes-x.txt").write_text("\n".join([HEAD, *rows]) + "\n")

    def staged(self, table: str, columns: str) -> list[tuple[object, ...]]:
        connection = connect(self.home / "spill")
        open_lake(connection, Lake(self.home / "lake", 2), {})
        name = stage_tabular(connection, load_contract("physionet2012"), table, folder=FOLDER, root=self.root)
        order = "order by record_file, record_line"
        return connection.execute(f"select {columns} from {name} {order}").fetchall()

    def ingested(self, path: Path | None = None) -> IngestResult:
        lake = Lake(self.home / "lake", 2)
        places = IngestPlaces(landing=self.home / "landing", lake=lake, sources=SOURCES, temp=self.home / "tmp")
        records = open_records(f"sqlite:///{self.home / 'records.db'}")
        try:
            return ingest(
                "physionet2012", path or self.root, as_of=NOW, is_history=False, places=places, records=records
            )
        finally:
            records.close()


@pytest.fixture
def extract(tmp_path: Path) -> Extract:
    return Extract(tmp_path)


def test_each_stay_is_a_patient_whose_sex_may_be_unknown_and_whose_birth_is_not_made_up(extract: Extract) -> None:
    for number, gender in ((132101, "0"), (132102, "1"), (132103, "-1")):
        extract.stay(number, descriptors=(f"Gender,{gender}",))
    assert extract.staged("patient", "patient_id, sex, birth_date") == [
        ("132101", "female", None),
        ("132102", "male", None),
        ("132103", "unknown", None),
    ]


def test_a_file_whose_record_id_is_another_one_is_a_fault_and_one_without_any_goes_by_its_name(
    extract: Extract,
) -> None:
    extract.stay(132101, record_id="132102")
    (extract.root / "set-x" / "132103.txt").write_text("Time,Parameter,Value\n")
    assert extract.staged("patient", "patient_id, problem, problem_detail") == [
        ("132101", "bad_value", "RecordID"),
        ("132103", None, None),
    ]


def test_the_end_of_a_stay_is_known_by_its_day_and_never_before_the_second(extract: Extract) -> None:
    for number in (132101, 132102, 132103, 132104, 132105):
        extract.stay(number)
    extract.outcomes("132101,1,1,5,-1,0", "132102,1,1,9,10,1", "132103,1,1,1,-1,0", "132104,1,1,-1,-1,0")
    rows = extract.staged("encounter", "encounter_id, started_at, ended_at, discharge_disposition, service, is_empty")
    assert [row[:-1] for row in rows if not row[-1]] == [
        ("132101", "2000-01-01 00:00:00", "2000-01-06", "other", "medical_icu"),
        ("132102", "2000-01-01 00:00:00", "2000-01-10", "died", "medical_icu"),
        ("132103", "2000-01-01 00:00:00", "2000-01-03", "other", "medical_icu"),
        ("132104", "2000-01-01 00:00:00", None, None, "medical_icu"),
        ("132105", "2000-01-01 00:00:00", None, None, "medical_icu"),
    ]


def test_without_outcomes_every_stay_is_open_and_its_kind_of_care_is_its_service(extract: Extract) -> None:
    for number, icu_type in ((132101, 1), (132102, 2), (132103, 4)):
        extract.stay(number, descriptors=(f"ICUType,{icu_type}",))
    (extract.root / "set-x" / "132104.txt").write_text("Time,Parameter,Value\n")
    assert extract.staged("encounter", "ended_at, service") == [
        (None, "coronary_care_unit"),
        (None, "cardiac_surgery_recovery_unit"),
        (None, "surgical_icu"),
        (None, "icu"),
    ]


def test_hours_and_minutes_count_from_admission_and_a_time_that_cannot_be_read_is_a_fault(extract: Extract) -> None:
    extract.stay(132101, "00:07,HR,73", "48:00,HR,80", "99:60x,HR,81", ",HR,82", descriptors=())
    assert extract.staged("observation", "effective_at, value_number, problem")[1:] == [
        ("2000-01-01 00:07:00", 73.0, None),
        ("2000-01-03 00:00:00", 80.0, None),
        (None, 81.0, "bad_time"),
        (None, 82.0, "bad_time"),
    ]


def test_what_is_not_known_is_no_fact_and_two_values_of_one_time_are_two(extract: Extract) -> None:
    extract.stay(132101, "01:00,Urine,30", "01:00,Urine,30", "01:00,Urine,50", descriptors=("Height,-1", "Weight,-1"))
    rows = extract.staged("observation", "observation_id, value_number, is_empty, out_of_scope_reason")
    assert rows[1:] == [
        ("132101|00:00|Height|1", -1.0, True, "not_known"),
        ("132101|00:00|Weight|1", -1.0, True, "not_known"),
        ("132101|01:00|Urine|1", 30.0, False, None),
        ("132101|01:00|Urine|2", 30.0, False, None),
        ("132101|01:00|Urine|3", 50.0, False, None),
    ]


def test_ventilation_is_words_and_every_parameter_has_a_code_and_a_unit_of_it(extract: Extract) -> None:
    known = {code.local_code: code for code in load_codes(FOLDER)}
    extract.stay(132101, *(f"02:00,{name},1" for name in known if name not in ("RecordID", "Age", "Height")))
    staged = extract.staged("observation", "local_code, value_text, unit")
    assert {name for name, _, _ in staged} == known.keys()
    assert [row for row in staged if row[0] == "MechVent"] == [("MechVent", "mechanical ventilation", None)]
    for name, _, unit in staged:
        code = known[str(name)]
        assert code.loinc is None or code.takes_text or unit in {each.sent for each in code.units}


def test_every_line_is_accounted_for_and_what_cannot_be_is_quarantined_with_its_reason(extract: Extract) -> None:
    extract.stay(132101, *(f"{hour:02}:00,HR,80" for hour in range(30)), "01:00,pH,735", "02:00,pH,7.3", "03:00,pH,7.4")
    extract.stay(132102, "01:00,NIDiasABP,0", *(f"{hour:02}:00,NIDiasABP,60" for hour in range(2, 12)), "01:00,Odd,1")
    extract.stay(132103, descriptors=())
    extract.stay(132104, "01:00,HR,", "02:00,HR,fast", record_id="132105")
    result = extract.ingested()
    assert dict(result.quarantined) == {
        "bad_value": 2,
        "impossible_value": 2,
        "missing_field": 1,
        "unknown_code": 1,
    }
    observation, patient = result.accounts["observation"], result.accounts["patient"]
    assert (patient.received, patient.mapped, patient.quarantined) == (4, 3, 1)
    assert observation.received == 6 + 33 + 6 + 12 + 1 + 8
    assert (observation.out_of_scope, observation.waiting) == (4 + 4 + 1 + 4, 2)
    assert observation.balances


def test_a_zip_is_the_same_extract_as_its_folder(extract: Extract) -> None:
    extract.stay(132101, "00:07,HR,73")
    extract.stay(132102)
    first = extract.ingested()
    with zipfile.ZipFile(extract.home / "set-x.zip", "w") as writer:
        for path in sorted((extract.root / "set-x").iterdir()):
            writer.write(path, f"set-x/{path.name}")
    again = extract.ingested(extract.home / "set-x.zip")
    assert (first.is_new, again.is_new, again.extract_id) == (True, False, first.extract_id)


def test_the_real_names_of_files_are_known(needs_shared: Callable[[str], Path]) -> None:
    from integrations.contract import matches

    contract = load_contract("physionet2012")
    with zipfile.ZipFile(needs_shared("data/physionet2012") / "set-a.zip") as envelope:
        names = [name for name in envelope.namelist() if not name.endswith("/")]
    assert len(names) == 4_000
    assert all(matches(name, contract.inputs["stays"].files) for name in names)
    assert matches("Outcomes-a.txt", contract.inputs["outcomes"].files)
    assert not matches("Outcomes-a.txt", contract.inputs["stays"].files)
