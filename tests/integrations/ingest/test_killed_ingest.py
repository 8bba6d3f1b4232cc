"""Every door: an ingest is killed at fifty random moments, and what comes of it is what would have come without."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from integrations.duck import connect
from integrations.hl7v2.inbox import inbox_of, sealed_files
from integrations.ingest import ledger
from integrations.ingest.heard import drop_taken_in, heard
from tests.crash.killing import draw_kill, run
from tests.integrations.dicomweb.conftest import PACS, study
from tests.integrations.hl7v2.killed import admission, message
from tests.integrations.ingest.conftest import FIRST_NIGHT, MRN, WARD, encounter, open_home, patient, result
from tests.integrations.ingest.test_doors import MAPPING, WAREHOUSE

pytestmark = pytest.mark.xdist_group("crash")

SOAK = os.environ.get("ROUNDS_SOAK", "")  # the seed of its round
KILLS = 500 if SOAK else 50
HL7 = WARD.replace("kind: fhir", f'kind: hl7v2\npatients_of: {{system: "{MRN}", source: lab}}').replace(
    "source: ward", "source: lab"
)
HL7 = (
    HL7[: HL7.index("files_out_of_scope")]
    + "tables:\n"
    + "".join(
        f'  {table}: {{files: ["*.hl7"], history: {{available_at: {at}}}}}\n'
        for table, at in (
            ("patient", "always"),
            ("patient_link", "always"),
            ("encounter", "started_at"),
            ("observation", "issued_at"),
        )
    )
)
State = dict[str, list[Any]]


@dataclass(frozen=True)
class Door:
    """A feed of one kind, and the extract that it has sent to a home."""

    source: str
    home: Path


def fhir(home: Path) -> None:
    folder = home / "extract"
    people = [patient(f"p{n}", f"m{n}") for n in range(40)]
    stays = [encounter(f"e{n}", f"p{n}") for n in range(40)]
    results = [result(f"o{n}", n % 7 + 0.5, of=f"p{n % 45}", stay=f"e{n % 40}") for n in range(200)]
    ward = open_home(home)
    shutil.move(ward.extract(Patient=people, Encounter=stays, Observation=[*results, "no JSON\n"]), folder)
    ward.records.close()


def hl7v2(home: Path) -> None:
    """What a listener has heard; from landing on it goes as a file that is brought."""
    lines = [admission(f"p{n}") for n in range(40)] + [message(f"p{n}", value) for value in range(5) for n in range(40)]
    with inbox_of("lab", home / "landing") as inbox:
        for part in (lines[:100], [*lines[100:], b"what is this", lines[-1]]):
            inbox.append(part, FIRST_NIGHT)
            inbox.seal()
    source = home / "sources" / "lab"
    (source / "contract.yaml").write_text(HL7)
    (source / "codes.csv").write_text((source / "codes.csv").read_text().replace("http://loinc.org", "LN"))


def tabular(home: Path) -> None:
    folder, source = home / "extract", home / "sources" / "warehouse"
    folder.mkdir()
    source.mkdir()
    people = "".join(f"{n},19{n % 60 + 10}-02-0{n % 9 + 1},{'fm'[n % 2]}\n" for n in range(300))
    (folder / "people.csv").write_text(f"id,born,letter\n{people}x,never,f\n")
    (folder / "words.csv").write_text("letter,word\nf,female\nm,male\n")
    (source / "contract.yaml").write_text(WAREHOUSE)
    (source / "patient.sql").write_text(MAPPING)


def dicomweb(home: Path) -> None:
    folder, source = home / "extract", home / "sources" / "pacs"
    folder.mkdir()
    source.mkdir()
    (source / "contract.yaml").write_text(PACS)
    ward = open_home(home)
    people = [patient(f"p{n}", f"m{n}") for n in range(30)]
    ward.ingest(ward.extract(Patient=people))
    ward.records.close()
    studies = [study(f"1.2.{n}", PatientID=f"m{n % 35}") for n in range(200)]
    (folder / "page.json").write_text(json.dumps([*studies, study("1.3", StudyDate="20241399"), "no study"]))


DOORS: dict[str, Callable[[Path], None]] = {"ward": fhir, "lab": hl7v2, "warehouse": tabular, "pacs": dicomweb}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, tmp_path: Path, empty_ward: Path) -> Door:
    """A home that has received nothing, with the extract beside it."""
    home = tmp_path / "before"
    shutil.copytree(empty_ward, home)
    DOORS[request.param](home)
    return Door(request.param, home)


def take_in(home: Path, source: str) -> None:
    """What `rounds ingest SOURCE --from` does, or without it of what was heard."""
    ward = open_home(home)
    is_heard = source == "lab"
    if folder := heard(source, ward.places.landing, ward.records) if is_heard else home / "extract":
        ward.ingest(folder, night=1, source=source)
    if is_heard:
        drop_taken_in(source, ward.places.landing, ward.records)
    ward.records.close()


def state(home: Path) -> State:
    """Every row of every table, and what the records keep of the extract."""
    ward = open_home(home)
    found: State = {}
    with ward.records.read() as db, connect(home / "tmp", memory_limit_mb=200) as connection:
        _, versions = ledger.newest_snapshot(db)
        for table, version in sorted(versions.items()):
            if files := ward.places.lake.files(table, version):
                sql = f"select * from read_parquet({files!r}, hive_partitioning = false) order by all"
                found[table] = connection.execute(sql).fetchall()
        for table in ("extract", "account", "out_of_scope", "waiting", "quarantine", "message"):
            found[f"records of {table}"] = sorted(map(repr, db.exec_driver_sql(f"select * from {table}")))
    found["heard and not taken in"] = list(sealed_files("lab", ward.places.landing))
    ward.records.close()
    return found


def test_an_ingest_that_is_killed_fifty_times_leaves_what_it_would_have_left(door: Door, tmp_path: Path) -> None:
    lived = run(shutil.copytree(door.home, tmp_path / "whole"), take_in, door.source)
    expected, random = state(tmp_path / "whole"), Random(f"{door.source}{SOAK}")
    assert expected["records of account"]
    assert expected["records of quarantine"]
    assert expected["heard and not taken in"] == []
    deaths = same = homes = 0
    while deaths < KILLS:
        homes += 1
        home = shutil.copytree(door.home, tmp_path / f"killed{homes}")
        for _ in range(10):
            ended = run(home, take_in, door.source, kill=draw_kill(random, lived))
            deaths += ended.was_killed
            if not ended.was_killed:
                break
        assert run(home, take_in, door.source).exit_code == 0
        same += state(home) == expected
        shutil.rmtree(home)
    print(f"{door.source}: {deaths} kills over {homes} homes, {same} the same in the end")
    assert same == homes


def test_a_home_that_took_in_less_differs(door: Door, tmp_path: Path) -> None:
    take_in(shutil.copytree(door.home, tmp_path / "whole"), door.source)
    sent = door.home / ("landing/lab/.inbox/sealed" if door.source == "lab" else "extract")
    file = next(path for path in sorted(sent.iterdir()) if path.stat().st_size > 100)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    take_in(door.home, door.source)
    assert state(door.home) != state(tmp_path / "whole")
