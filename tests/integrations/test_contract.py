"""A contract or code list that is wrong is named with its line and what was probably meant."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from integrations.codes import load_analytes, load_codes, load_unit_factors
from integrations.contract import load_contract
from integrations.errors import WrongUsage

CONTRACT = """source: ward
owner: the ward
site_id: north
time_zone: America/Chicago
kind: fhir
lateness: 36h
tables:
  encounter:
    files: ["Encounter*.ndjson"]
    history: {available_at: started_at, plus: 7d, ended: ended_at}
"""
HEAD = "local_system,local_code,loinc,unit,reason,owner\n"


def write(folder: Path, contract: str = CONTRACT) -> Path:
    (folder / "ward").mkdir(exist_ok=True)
    (folder / "ward" / "contract.yaml").write_text(contract)
    return folder


def test_a_contract_is_read_with_its_durations_and_defaults(tmp_path: Path) -> None:
    contract = load_contract("ward", write(tmp_path))
    assert contract.lateness == timedelta(hours=36)
    assert contract.tables["encounter"].history.plus == timedelta(days=7)
    assert contract.encounters_of == "ward"
    assert contract.is_past(datetime(2024, 1, 1, tzinfo=UTC))


def test_the_limits_of_a_feed_are_sizes_that_people_read(tmp_path: Path) -> None:
    limits = "limits: {largest_file: 2GB, longest_line: 64KB, most_files: 10}\n"
    read = load_contract("ward", write(tmp_path, CONTRACT + limits)).limits
    assert (read.largest_file, read.longest_line, read.most_files) == (2 << 30, 64 << 10, 10)
    assert read.largest_unpacked == load_contract("ward", write(tmp_path)).limits.largest_unpacked == 100 << 30


@pytest.mark.parametrize(
    "limit", ["largest_file: 2 gigabytes", "largest_file: true", "longest_line: 0MB", "deepest_json: 5000"]
)
def test_a_limit_that_is_none_is_refused(tmp_path: Path, limit: str) -> None:
    with pytest.raises(WrongUsage, match=limit.partition(":")[0]):
        load_contract("ward", write(tmp_path, f"{CONTRACT}limits: {{{limit}}}\n"))


def test_before_go_live_all_is_history(tmp_path: Path) -> None:
    contract = load_contract("ward", write(tmp_path, CONTRACT + "go_live_at: 2024-01-01T00:00:00Z\n"))
    assert contract.is_past(datetime(2023, 12, 31, tzinfo=UTC))
    assert not contract.is_past(datetime(2024, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("time_zone:", "timezone:", 4, "did you mean time_zone?"),
        ("plus: 7d", "pluss: 7d", 10, "did you mean plus?"),
        ("owner: the ward", "owner: the ward\nhobby: golf", 3, "known: source, owner"),
        ("America/Chicago", "America/Springfield", 4, "tz database"),
        ("America/Chicago", "America", 4, "tz database"),
        ("lateness: 36h", "lateness: soon", 6, "a number and m, h or d"),
        ("lateness: 36h", "lateness: 36", 6, "a number and m, h or d"),
        ("kind: fhir", "kind: fax", 5, "fhir"),
        ("  encounter:", "  encounters:", 7, "encounters is no canonical table"),
        ("available_at: started_at", "available_at: begun_at", 7, "begun_at is no instant"),
        ("ended: ended_at", "ended: left_at", 7, "left_at is no instant"),
        ("ended: ended_at}", "ended: ended_at}\n    not_told: [births]", 7, "cannot say births"),
        ('["Encounter*.ndjson"]', "[]", 9, "at least 1"),
        ('["Encounter*.ndjson"]', '\n      - "*.ndjson"\n      - 7', 11, "valid string"),
        ("owner: the ward\n", "", 1, "Field required"),
        ("owner: the ward", "owner: [the", 3, "not YAML"),
        ("kind: fhir", "kind: hl7v2", 1, "an hl7v2 feed needs patients_of"),
        ("owner: the ward", "owner: the ward\nis_authoritative_for: [beds]", 3, "beds is no canonical table"),
    ],
)
def test_a_wrong_contract_is_named_with_file_line_and_a_hint(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    with pytest.raises(WrongUsage) as caught:
        load_contract("ward", write(tmp_path, CONTRACT.replace(old, new)))
    assert says in str(caught.value)
    assert f"contract.yaml, line {line}" in caught.value.where


LINKS = CONTRACT.replace("  encounter:", "  patient_link:").replace("started_at, plus: 7d, ended: ended_at", "always")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", "patient_link needs person_systems"),
        ("person_systems: []\n", "patient_link needs person_systems"),
        ("person_systems: [mrn]\npatients_of: {system: ssn, source: ward}\n", "ssn must be one of person_systems"),
    ],
)
def test_a_feed_that_links_patients_says_by_which_systems(tmp_path: Path, more: str, says: str) -> None:
    with pytest.raises(WrongUsage, match=says):
        load_contract("ward", write(tmp_path, LINKS + more))
    assert load_contract("ward", write(tmp_path, LINKS + "person_systems: [mrn]\n")).person_systems == ("mrn",)


STUDIES = """source: ward
owner: the ward
site_id: north
time_zone: America/Chicago
kind: dicomweb
lateness: 36h
patients_of: {system: mrn, source: ward}
person_systems: [mrn]
qido: {overlap: 7d}
tables:
  patient_link: {files: ["*.ndjson"], history: {available_at: always}}
  imaging_study: {files: ["*.ndjson"], history: {available_at: effective_at}}
"""


def test_a_feed_of_studies_is_read_with_what_it_does_not_say(tmp_path: Path) -> None:
    contract = load_contract("ward", write(tmp_path, STUDIES))
    assert contract.qido is not None
    assert (contract.qido.overlap, contract.qido.asks_series, contract.qido.first_date) == (
        timedelta(days=7),
        True,
        None,
    )
    assert contract.is_fetched
    assert not contract.is_accession_number_of_stay
    assert not load_contract("ward", write(tmp_path, STUDIES.replace("qido: {overlap: 7d}\n", ""))).is_fetched


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("patients_of: {system: mrn, source: ward}\n", "", 1, "a dicomweb feed needs patients_of"),
        ("overlap: 7d", "overlap: 2h", 9, "greater than or equal to 1 day"),
        ("overlap: 7d", "overlap: 7d, page_size: 0", 9, "greater than or equal to 1"),
        ("overlap: 7d", "overlap: 7d, first_date: soon", 9, "date"),
        ("overlap: 7d", "overlap: 7d, series: true", 9, "asks_series"),
        ("qido: {overlap: 7d}", "export: {types: [Patient]}", 1, "only a fhir feed is fetched"),
        ("  patient_link:", "  observation:", 1, "observation: dicomweb feeds imaging_study, patient_link"),
        ("  imaging_study: {", "  imaging_study: {mapping: studies.sql, ", 1, "no view or mapping of a source"),
        ("  imaging_study: {", "  imaging_study: {view: studies, ", 1, "no view or mapping of a source"),
        ('  imaging_study: {files: ["*.ndjson"], history: {available_at: effective_at}}\n', "", 1, "brings nothing"),
        ("kind: dicomweb", "kind: fhir", 1, "only a dicomweb feed is asked for studies"),
        ("kind: dicomweb", "kind: dicom", 5, "dicomweb"),
    ],
)
def test_a_wrong_contract_of_a_feed_of_studies_is_named(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in STUDIES
    with pytest.raises(WrongUsage) as caught:
        load_contract("ward", write(tmp_path, STUDIES.replace(old, new)))
    assert says in str(caught.value)
    assert f"contract.yaml, line {line}" in caught.value.where


def test_only_studies_have_an_accession_number(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="only studies have an AccessionNumber"):
        load_contract("ward", write(tmp_path, CONTRACT + "is_accession_number_of_stay: true\n"))


def test_a_feed_may_not_wait_for_an_identifier_by_which_the_other_feed_links_nobody(tmp_path: Path) -> None:
    write(tmp_path, LINKS + "person_systems: [mrn]\n")
    (tmp_path / "lab").mkdir()
    of_the_ward = "patients_of: {system: ssn, source: ward}\n"
    (tmp_path / "lab" / "contract.yaml").write_text(CONTRACT.replace("source: ward", "source: lab") + of_the_ward)
    with pytest.raises(WrongUsage, match="ward links nobody by ssn") as caught:
        load_contract("lab", tmp_path)
    assert "mrn" in caught.value.to_do


def test_a_source_that_nobody_knows_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="known: ward"):
        load_contract("wards", write(tmp_path))


def test_a_folder_and_its_contract_have_one_name(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="its folder ward"):
        load_contract("ward", write(tmp_path, CONTRACT.replace("source: ward", "source: unit")))


def test_a_contract_that_is_no_text_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "ward" / "contract.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(WrongUsage, match="cannot be read"):
        load_contract("ward", tmp_path)


def test_codes_come_with_the_factors_to_the_unit_of_the_analyte(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text(
        HEAD + "L,CREA,2160-0,mg/dL,,o\nL,CREA,2160-0,umol/L,,o\nL,X,out_of_scope,,no use,o\n"
    )
    creatinine, left_out = load_codes(tmp_path)
    assert [(unit.sent, unit.unit, round(1 / unit.factor, 2)) for unit in creatinine.units] == [
        ("mg/dL", "mg/dL", 1.0),
        ("umol/L", "mg/dL", 88.42),
    ]
    assert (left_out.loinc, left_out.reason) == (None, "no use")
    assert load_codes(tmp_path / "nowhere") == ()


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        ("L,A,2160-0,mg/dL,,o\nL,A,2160-0,stone,,o\n", 3, "no factor to mg/dL"),
        ("L,A,2160-0,mg/dL,,o\nL,A,2160-0,mg/dL,,o\n", 3, "stands twice"),
        ("L,A,1111-1,x,,o\nL,A,1111-1,y,,o\n", 3, "no factor to x"),
        ("L,A,2160-0,mg/dL,,o\nL,A,2345-7,mg/dL,,o\n", 2, "means two things"),
        ("L,A,out_of_scope,,,o\n", 2, "without reason or owner"),
        ("L,A,2160-0\n", 2, "more or fewer cells"),
    ],
)
def test_a_code_list_that_is_wrong_is_named_with_its_line(tmp_path: Path, rows: str, line: int, says: str) -> None:
    (tmp_path / "codes.csv").write_text(HEAD + rows)
    with pytest.raises(WrongUsage, match=says) as caught:
        load_codes(tmp_path)
    assert caught.value.where.endswith(f"codes.csv, line {line}")


def test_a_code_list_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("system,code\n")
    with pytest.raises(WrongUsage, match="not as agreed"):
        load_codes(tmp_path)


def test_an_analyte_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "analytes.csv"
    head = "loinc,name,unit,impossible_low,impossible_high,extreme_low,extreme_high,impossible_source,extreme_source\n"
    file.write_text(head + "1-1,a,g,0,1,0,1,s,s\n" * 2)
    with pytest.raises(WrongUsage, match="stands twice"):
        load_analytes(file)


def test_extreme_lies_within_possible_and_every_factor_belongs_to_an_analyte() -> None:
    analytes = load_analytes()
    for analyte in analytes.values():
        low = analyte.impossible_low if analyte.impossible_low is not None else float("-inf")
        high = analyte.impossible_high if analyte.impossible_high is not None else float("inf")
        assert low < high
        assert low <= (analyte.extreme_low if analyte.extreme_low is not None else low)
        assert (analyte.extreme_high if analyte.extreme_high is not None else high) <= high
    for (loinc, unit), (factor, _) in load_unit_factors().items():
        assert loinc in analytes
        assert unit != analytes[loinc].unit
        assert factor > 0


@pytest.mark.parametrize(
    ("loinc", "unit", "sent", "expected"),
    [
        ("2160-0", "umol/L", 88.42, 1.0),
        ("2345-7", "mmol/L", 10, 180.16),
        ("17861-6", "mmol/L", 2.5, 10.02),
        ("3094-0", "mmol/L", 10, 28.01),
        ("718-7", "g/L", 140, 14.0),
        ("8310-5", "[degF]", 98.6, 37.0),
        ("1975-2", "umol/L", 17.1, 1.0),
        ("2823-3", "mEq/L", 4.0, 4.0),
    ],
)
def test_a_unit_factor_gives_what_the_textbook_gives(loinc: str, unit: str, sent: float, expected: float) -> None:
    factor, offset = load_unit_factors()[loinc, unit]
    assert sent * factor + offset == pytest.approx(expected, rel=1e-3)
