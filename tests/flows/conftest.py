"""A small hospital, played once through the commands that people type: what the flow tests look at afterwards."""

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from flows.house import House
from integrations.records import Records
from integrations.settings import load_settings
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import HospitalFiles, write_hospital
from tests.flows.ward import Ward, open_ward

USE_CASE = "aki_48h"
MISSED_NIGHT = 3
HOSPITAL = Hospital(patients=4000, nights=6, scenario="creatinine_unit", seed=1)


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Rounds:
    """The `rounds` command on one ROUNDS_HOME, run in this process."""

    home: Path

    def __call__(self, *arguments: str) -> Answer:
        from flows.cli import main

        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("ROUNDS_HOME", str(self.home))
            patch.delenv("PREFECT_API_URL", raising=False)
            code = main(list(arguments))
        return Answer(code, out.getvalue(), err.getvalue())

    @property
    def part_count(self) -> int:
        """Into how many parts the lake is cut."""
        house = House(load_settings({"ROUNDS_HOME": str(self.home)}))
        return len(house.parts(house.newest_snapshot()))

    def done(self, *arguments: str) -> Answer:
        """Run a command that must succeed."""
        answer = self(*arguments)
        assert answer.code == 0, f"rounds {' '.join(arguments)}: {answer.out}{answer.err}"
        return answer


@dataclass(frozen=True)
class PlayedHospital:
    """The hospital after its nights: night 3 was not scored, nights 5 and 6 sent creatinine in another unit."""

    rounds: Rounds
    files: HospitalFiles
    plans: dict[str, Any]  # what --dry-run said before the run of the same thing
    deeds: dict[str, Any]  # and what the run then did


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lake as small as this one is cut, its buckets into slices, as though memory were scarce."""
    monkeypatch.setattr("flows.house.TIMES_IN_MEMORY", 400)


@pytest.fixture
def ward(home: Path, sqlite_records: Records, tmp_path: Path) -> Ward:
    """A ward that scores readmission silently."""
    return open_ward(home, tmp_path)


@pytest.fixture(scope="session")
def hospital_files(tmp_path_factory: pytest.TempPathFactory) -> HospitalFiles:
    return write_hospital(HOSPITAL, tmp_path_factory.mktemp("hospital") / "files")


@pytest.fixture
def rounds(tmp_path: Path) -> Rounds:
    """`rounds` on a home where nothing has happened yet."""
    return Rounds(tmp_path / "home")


@pytest.fixture(scope="session")
def played(hospital_files: HospitalFiles, tmp_path_factory: pytest.TempPathFactory) -> PlayedHospital:
    folder = tmp_path_factory.mktemp("played")
    rounds = Rounds(folder / "home")
    before = hospital_files.history_taken_at.isoformat()
    rounds.done("ingest", "demo_ehr", "--from", str(hospital_files.history), "--history", "--as-of", before)
    rounds.done("train", USE_CASE, "--as-of", before)
    approve_and_go_live(rounds, folder)
    played = PlayedHospital(rounds, hospital_files, {}, {})
    for number, night in enumerate(hospital_files.nights, 1):
        play_night(played, number, night)
    return played


@pytest.fixture(scope="session")
def resent(played: PlayedHospital, tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """The played hospital once the laboratory has sent the nights again whose creatinine lay in quarantine."""
    folder = tmp_path_factory.mktemp("resent")
    rounds = copied(played.rounds, folder)
    resend_in_the_right_unit(rounds, folder)
    return rounds


@pytest.fixture(scope="session")
def challenged(played: PlayedHospital, resent: Rounds, tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """The same with a second version, trained after the last night, that nobody has approved yet."""
    rounds = copied(resent, tmp_path_factory.mktemp("challenged"))
    rounds.done("train", USE_CASE, "--as-of", played.files.nights[-1].round_at.isoformat(), "--seed", "5")
    return rounds


def copied(rounds: Rounds, folder: Path) -> Rounds:
    """The same home in another place, to be spoilt."""
    shutil.copytree(rounds.home, folder / "home", symlinks=True)
    return Rounds(folder / "home")


def rows_of(rounds: Rounds, sql: str) -> list[Any]:
    """Ask the records of a home."""
    engine = create_engine(f"sqlite:///{rounds.home / 'records.db'}")
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(sql))]
    engine.dispose()
    return found


def approve_and_go_live(rounds: Rounds, keys: Path) -> None:
    ada, ben = ("--as", "Ada", "--key", str(keys / "ada.key")), ("--as", "Ben", "--key", str(keys / "ben.key"))
    rounds.done("people", "add", "Ada", "--role", "governance", "--key-out", str(keys / "ada.key"))
    rounds.done("people", "add", "Ben", "--role", "clinician", "--key-out", str(keys / "ben.key"), *ada)
    for person in (ada, ben):
        rounds.done("approve", USE_CASE, "1", *person, "--reason", "read the report")
    for person in (ada, ben):
        rounds.done("stage", USE_CASE, "live", "--site", "demo", *person, "--reason", "go")


def play_night(played: PlayedHospital, number: int, night: Any) -> None:
    taken, at = night.taken_at.isoformat(), ("--as-of", night.round_at.isoformat())
    commands = {
        "ingest": ("ingest", "demo_ehr", "--from", str(night.ehr), "--as-of", taken),
        "laboratory": ("ingest", "demo_lis", "--from", str(night.lis), "--as-of", taken),
        "score": ("score", USE_CASE, *at),
        "write_back": ("write-back", *at),
        "monitor": ("monitor", USE_CASE, "--no-report", *at),
    }
    for name, command in commands.items():
        if number == MISSED_NIGHT and name not in ("ingest", "laboratory"):
            continue
        if number == 1 and name != "monitor":
            played.plans[name] = played.rounds.done(*command, "--dry-run", "--json").json
        played.deeds[f"{name} {number}"] = played.rounds.done(*command, "--json").json


def resend_in_the_right_unit(rounds: Rounds, folder: Path) -> None:
    """The laboratory sends the two nights again whose creatinine lies in quarantine: then nothing is held any more."""
    assert rounds.done("quarantine", "--json").json["reasons"]
    files = write_hospital(replace(HOSPITAL, scenario="none"), folder / "files")
    for hour, night in enumerate(files.nights[4:], 4):
        at = f"2024-07-09T{hour:02}:00:00+00:00"
        number_anew(night.lis / "oru.hl7")
        rounds.done("ingest", "demo_lis", "--from", str(night.lis), "--as-of", at)
    assert rounds.done("quarantine", "--json").json["reasons"] == {}


def number_anew(file: Path) -> None:
    """Give each message a control id of its own: one that came again with another body would be a conflict."""
    file.write_bytes(file.read_bytes().replace(b"|P|2.5.1|", b"-AGAIN|P|2.5.1|"))
