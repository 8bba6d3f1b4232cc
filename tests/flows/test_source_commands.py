"""`rounds source new` and `rounds source check`: a feed is made, tried on a sample, and its codes are decided."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integrations.codes import CODE_COLUMNS
from integrations.settings import CHECKOUT
from tests.flows.conftest import Answer, Rounds
from tests.flows.test_commands import HEAVY
from tests.integrations.hl7v2.conftest import MSH, OBR, obx
from tests.integrations.ingest.conftest import encounter, patient, result

SYSTEM = "http://example.org/north/mrn"
NAME, MRN, VALUE = "Featherstonehaugh", "M4711", 1.2345
SECRETS = (NAME, MRN, str(VALUE), "p4711", "1950-01-01")
KINDS = ("fhir", "hl7v2", "tabular")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sources that the commands take for the house's."""
    folder = tmp_path / "sources"
    folder.mkdir()
    monkeypatch.setattr("integrations.contract.SOURCES", folder)
    return folder


@pytest.fixture
def north(rounds: Rounds, sources: Path) -> Rounds:
    """A house with a new source of each kind, whose laboratory writes NORTH for the medical record number."""
    rounds.done("source", "new", "north")
    contract = sources / "north_hl7v2" / "contract.yaml"
    contract.write_text(contract.read_text().replace("assigning_authorities: []", "assigning_authorities: [NORTH]"))
    return rounds


def ehr(folder: Path) -> Path:
    """A sample of the EHR: LOINC codes in strange and in known units, and codes of the ward's own."""
    mine: dict[str, Any] = {"of": "p4711", "stay": None, "value": VALUE}
    person = patient("p4711", identifier=[{"system": SYSTEM, "value": MRN}], name=[{"family": NAME}])
    own = {"code": {"coding": [{"system": "urn:ward", "code": "OWN"}], "text": "a test of the ward"}}
    folder.mkdir()
    write(folder / "Patient.ndjson", person)
    write(folder / "Encounter.ndjson", encounter("e1", "p4711"))
    write(
        folder / "Observation.ndjson",
        result("o1", **mine),
        result("o2", unit="umol/L", **mine | {"value": 98.5}),
        result("o3", unit="furlong", **mine),
        result("o4", code="1-1", **mine),
        result("o5", **mine) | own,
        result("o6", unit="g/L", **mine) | own,
        result("o7", code="2160-0", of="p9", stay=None),
        "{",
    )
    return folder


def write(file: Path, *lines: Any) -> None:
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))


def laboratory(folder: Path) -> Path:
    """A sample of the laboratory: a unit that the contract does not name yet, and a code without a system."""
    folder.mkdir()
    segments = [
        MSH,
        f"PID|1||{MRN}^^^NORTH^MR||{NAME}",
        OBR,
        obx(str(VALUE)),
        obx("98.5", unit="umol/L"),
        obx(str(VALUE), code="GLU^Glucose"),
        obx(str(VALUE), code="2345-7^Glucose^LN", unit="mmol/L"),
    ]
    (folder / "night.hl7").write_text("\r".join(segments))
    return folder


def warehouse(folder: Path) -> Path:
    """A sample of the warehouse: a unit that the contract does not name yet, and a code of its own."""
    folder.mkdir()
    (folder / "patients.csv").write_text(f"patient_id,mrn,birth_date,sex,deceased_at\np4711,{MRN},1950-01-01,F,\n")
    row = "p4711,,o{0},{1},{2},{3},2024-03-02 08:00,2024-03-02 09:00\n"
    sent = [
        ("2160-0", VALUE, "mg/dL"),
        ("2160-0", 98.5, "umol/L"),
        ('"own, too"', VALUE, "mg/dL"),
        ("718-7", 130, "g/L"),
    ]
    (folder / "results.csv").write_text(
        "patient_id,encounter_id,observation_id,code,value,unit,collected_at,resulted_at\n"
        + "".join(row.format(number, *each) for number, each in enumerate(sent))
    )
    return folder


SAMPLES: dict[str, Callable[[Path], Path]] = {"fhir": ehr, "hl7v2": laboratory, "tabular": warehouse}


@pytest.fixture
def know_the_patient(north: Rounds, tmp_path: Path) -> None:
    """The EHR has sent the patient of whom the laboratory speaks."""
    folder = tmp_path / "before"
    folder.mkdir()
    write(folder / "Patient.ndjson", patient("p4711", identifier=[{"system": SYSTEM, "value": MRN}]))
    north.done("ingest", "north_fhir", "--from", str(folder))


def check(rounds: Rounds, source: str, sample: Path, *more: str) -> Answer:
    return rounds.done("source", "check", source, "--from", str(sample), *more)


@pytest.mark.usefixtures("know_the_patient")
@pytest.mark.parametrize("kind", KINDS)
def test_the_codes_file_filled_and_appended_leaves_less_in_quarantine(
    kind: str, north: Rounds, sources: Path, tmp_path: Path
) -> None:
    source, sample, file = f"north_{kind}", SAMPLES[kind](tmp_path / "sample"), tmp_path / "new.csv"
    before = check(north, source, sample, "--json").json
    check(north, source, sample, "--codes", str(file))
    unfilled = file.read_text()
    codes = sources / source / "codes.csv"
    kept = codes.read_text()

    codes.write_text(kept + unfilled)  # as `cat new.csv >> codes.csv` does
    refused = north("source", "check", source, "--from", str(sample))
    assert refused.code == 2
    assert "is still TO DECIDE" in refused.err

    codes.write_text(kept + filled(unfilled))
    after = check(north, source, sample, "--json").json
    quarantined = [told["accounts"]["observation"]["quarantined"] for told in (before, after)]
    assert quarantined[0] > quarantined[1] == (2 if kind == "fhir" else 0)  # a furlong, and a line that is no JSON
    mapped = [told["accounts"]["observation"]["mapped"] for told in (before, after)]
    assert mapped[1] > mapped[0]
    assert {(code["local_code"], *code["units_without_factor"]) for code in after["codes"]} == (
        {("2160-0", "furlong")} if kind == "fhir" else set()
    )
    assert after["codes_file"] == []


def filled(codes_file: str) -> str:
    """What a person makes of it: what is to be decided is out of scope."""
    rows = list(csv.reader(io.StringIO(codes_file)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([*row[:4], "no view draws on it", "Ada"] if "TO DECIDE" in row[4] else row for row in rows)
    return text.getvalue()


@pytest.mark.usefixtures("know_the_patient")
def test_the_report_names_codes_units_and_reasons(north: Rounds, tmp_path: Path) -> None:
    sample, file = ehr(tmp_path / "sample"), tmp_path / "new.csv"
    told = check(north, "north_fhir", sample, "--codes", str(file), "--json").json
    account = told["accounts"]["observation"]
    assert (account["received"], account["mapped"], account["waiting"], account["quarantined"]) == (8, 1, 1, 6)
    assert [(each["outcome"], each["table"], each["reason"], each["records"]) for each in told["set_aside"]] == [
        ("quarantined", "observation", "unknown_code", 3),
        ("quarantined", "observation", "unknown_unit", 2),
        ("quarantined", "observation", "not_json", 1),
        ("waiting", "observation", "for its patient", 1),
        ("out_of_scope", "encounter_location", "no_location", 1),
    ]
    assert [(each["local_code"], each["records"], each["units"]) for each in told["codes"]] == [
        ("2160-0", 2, {"furlong": 1, "umol/L": 1}),
        ("OWN", 2, {"g/L": 1, "mg/dL": 1}),
        ("1-1", 1, {"mg/dL": 1}),
    ]
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert rows == told["codes_file"]
    assert tuple(rows[0]) == CODE_COLUMNS
    assert [(row["local_code"], row["loinc"], row["unit"], row["owner"]) for row in rows] == [
        ("2160-0", "2160-0", "umol/L", "data owner of north"),
        ("OWN", "out_of_scope", "", ""),
        ("1-1", "out_of_scope", "", ""),
    ]


@pytest.mark.usefixtures("know_the_patient")
@pytest.mark.parametrize("kind", KINDS)
def test_a_person_reads_what_to_do_and_nothing_of_a_patient(kind: str, north: Rounds, tmp_path: Path) -> None:
    source, sample = f"north_{kind}", SAMPLES[kind](tmp_path / "sample")
    told = check(north, source, sample).out
    assert "in source records; nothing was taken in" in told
    assert "unknown_code: codes.csv neither maps the code nor declares it out of scope" in told
    assert "no factor for furlong" in told or kind != "fhir"
    assert ",".join(CODE_COLUMNS) in told
    assert "codes.csv is refused while a row is TO DECIDE" in told
    assert f"Append them to integrations/sources/{source}/codes.csv" in told
    assert max(map(len, told.splitlines())) < 180
    everything = told + check(north, source, sample, "--json").out
    assert [secret for secret in SECRETS if secret in everything] == []


def everything_in(home: Path) -> dict[str, bytes]:
    """Every file of a house, locks apart."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.mark.usefixtures("know_the_patient")
@pytest.mark.parametrize("kind", KINDS)
def test_a_check_writes_nothing_into_the_house_and_may_be_made_of_what_was_ingested(
    kind: str, north: Rounds, tmp_path: Path
) -> None:
    source, sample = f"north_{kind}", SAMPLES[kind](tmp_path / "sample")
    before = everything_in(north.home)
    first = check(north, source, sample, "--json").json
    assert everything_in(north.home) == before
    north.done("ingest", source, "--from", str(sample))
    after_ingest = everything_in(north.home)
    assert after_ingest != before
    again = check(north, source, sample, "--json").json
    assert everything_in(north.home) == after_ingest
    assert again["codes"] == first["codes"]
    assert again["accounts"]["observation"]["unchanged"] == first["accounts"]["observation"]["mapped"] > 0


def test_what_waited_before_is_none_of_the_sample(north: Rounds, tmp_path: Path) -> None:
    north.done("ingest", "north_hl7v2", "--from", str(laboratory(tmp_path / "waits")))
    folder = tmp_path / "sample"
    folder.mkdir()
    write(folder / "Patient.ndjson", patient("p4711", identifier=[{"system": SYSTEM, "value": MRN}]))
    plan = north.done("ingest", "north_fhir", "--from", str(folder), "--dry-run", "--json").json
    assert plan["accounts"]["observation"]["taken_up"] > 0
    assert set(check(north, "north_fhir", folder, "--json").json["accounts"]) == {"patient", "patient_link"}


def test_a_check_opens_no_heavy_library(north: Rounds, sources: Path, tmp_path: Path) -> None:
    sample = ehr(tmp_path / "sample")
    program = (
        "import sys; from pathlib import Path; import integrations.contract as contract; "
        f"contract.SOURCES = Path({str(sources)!r}); from flows.cli import main; code = main(sys.argv[1:]); "
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules)); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "source", "check", "north_fhir", "--from", str(sample), "--json"]
    environment = {**os.environ, "ROUNDS_HOME": str(north.home)}
    done = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_sample_of_which_every_code_is_known_needs_no_codes_file(north: Rounds, tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    folder.mkdir()
    write(folder / "Patient.ndjson", patient())
    write(folder / "Observation.ndjson", result(stay=None))
    told = check(north, "north_fhir", folder, "--codes", str(tmp_path / "new.csv")).out
    assert "codes.csv names every code and unit of the sample" in told
    assert not (tmp_path / "new.csv").exists()


def test_of_many_codes_the_screen_shows_the_most_frequent_and_the_file_all(north: Rounds, tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    folder.mkdir()
    lines = [result(f"o{number}", code=f"{number}-x") for number in range(40)]
    write(folder / "Observation.ndjson", *lines, result("o99", code="39-x"))
    told = check(north, "north_fhir", folder, "--codes", str(tmp_path / "new.csv")).out
    assert "10 more: all are in the codes file" in told
    assert told.index("39-x") < told.index("0-x ")
    assert len((tmp_path / "new.csv").read_text().splitlines()) == 41


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("check", "north_fhir"), 2, "nobody has said where the server of north_fhir is"),
        (("check", "north_hl7v2"), 2, "is not fetched from a server, and there is no sample to check"),
        (("jwks", "north_fhir"), 2, "nobody has said where the server of north_fhir is"),
        (("check", "nort_fhir", "--from", "{sample}"), 2, "unknown source nort_fhir"),
        (("check", "north_fhir", "--from", "{sample}.gone"), 1, "there is no such file or folder"),
        (("check", "north_hl7v2", "--from", "{sample}"), 1, "does not know the file Encounter.ndjson"),
        (("check", "north_fhir", "--from", "{sample}", "--codes", "{sample}"), 1, "there is a file of this name"),
        (("new", "north"), 1, "north_fhir exists already"),
        (("new", "North"), 2, "the name is no plain identifier"),
        (("new", "west", "--kind", "fax"), 2, "fax is no kind of feed"),
        (("new", "west", "--time-zone", "Mars/Base"), 2, "Mars/Base is no time zone"),
    ],
)
def test_a_wrong_call_is_refused_with_place_and_remedy(
    north: Rounds, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    sample = ehr(tmp_path / "sample")
    answer = north("source", *(argument.format(sample=sample) for argument in arguments))
    assert answer.code == code
    assert says in answer.err
    assert "where:" in answer.err
    assert "do:" in answer.err


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("contract.yaml", "kind: fhir", "kind: fire"),
        ("contract.yaml", "lateness: 1d", "latenes: 1d"),
        ("codes.csv", "2160-0,2160-0,mg/dL", "2160-0,2160-0,furlong"),
    ],
)
def test_a_mistake_of_contract_or_codes_is_said_as_ingest_says_it(
    north: Rounds, sources: Path, tmp_path: Path, file: str, old: str, new: str
) -> None:
    place = sources / "north_fhir" / file
    place.write_text(place.read_text().replace(old, new))
    sample = str(ehr(tmp_path / "sample"))
    checked = north("source", "check", "north_fhir", "--from", sample)
    ingested = north("ingest", "north_fhir", "--from", sample)
    assert (checked.code, checked.out, checked.err) == (ingested.code, ingested.out, ingested.err)
    assert checked.code == 2
    assert f"{file}, line " in checked.err


def test_new_says_what_was_made_and_what_comes_next(rounds: Rounds, sources: Path) -> None:
    told = rounds.done("source", "new", "north", "--owner", "Ada", "--site", "n", "--time-zone", "Europe/Berlin").out
    assert {path.name for path in sources.iterdir()} == {f"north_{kind}" for kind in (*KINDS, "dicomweb")}
    assert f"north_hl7v2 speaks of the patients of north_fhir, by {SYSTEM}: decide both" in told
    assert "grep -rn DECIDE" in told
    assert "rounds source check north_fhir --from PATH" in told
    contract = (sources / "north_tabular" / "contract.yaml").read_text()
    assert all(line in contract for line in ("owner: Ada\n", "site_id: n\n", "time_zone: Europe/Berlin\n"))
