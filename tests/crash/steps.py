"""The steps that a crash may hit, each with a home as it is just before, on a hospital small enough to be hit often."""

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import HospitalFiles, write_hospital
from tests.crash.champion import USE_CASE, make_champion
from tests.crash.killing import Command, Run, run

HOSPITAL = Hospital(patients=1000, nights=1, scenario="none", seed=1)
SMALL_HOSPITAL = Hospital(patients=20, nights=0, scenario="none", seed=2)
PATIENTS = ("Patient", "Encounter")  # what other records wait for
STEPS = ("first ingest", "ingest that takes up", "score", "backfill", "write back")
FIRST_INGEST, TAKES_UP, SCORE, BACKFILL, SENT = STEPS
A_LEASE = timedelta(minutes=20)  # what a dead process had in hand is free again after 15


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command, and the home it starts from. lives: what a person would type first, and after each crash."""

    name: str
    before: Path
    lives: tuple[Command, ...]

    def command(self, life: int) -> Command:
        """What is typed in this life; the last command stays the same for all later ones."""
        return self.lives[min(life, len(self.lives) - 1)]


def make_steps(folder: Path) -> list[Step]:
    """Build the homes, one growing out of the other, and name the steps. The folder is empty or new."""
    files = write_hospital(HOSPITAL, folder / "hospital")
    at, night = files.history_taken_at, files.nights[0]
    results, patients = _apart(write_hospital(SMALL_HOSPITAL, folder / "small"), folder)
    nothing = folder / "nothing"
    nothing.mkdir(mode=0o700)
    all_wait = ingest("demo_ehr", results, at, "--history")
    taken_up = ingest("demo_ehr", patients, at + timedelta(hours=1), "--history")
    waits = _grown(nothing, "waits", all_wait)
    due = _grown(nothing, "due", ingest("demo_ehr", files.history, at, "--history"))
    in_order(run(due, make_champion, at), "champion")
    score = ("score", USE_CASE, "--as-of", night.round_at.isoformat())
    span = ("--from", f"{at - timedelta(days=40):%Y-%m-%d}", "--to", f"{at - timedelta(days=2):%Y-%m-%d}")
    backfill = ("backfill", USE_CASE, *span, "--as-of", night.round_at.isoformat())
    queued = _grown(due, "queued", score)
    made = (
        (nothing, (all_wait,)),
        (waits, (taken_up,)),
        (due, (score,)),
        (due, (backfill,)),
        (queued, tuple(_send(night.round_at + A_LEASE * life) for life in range(10))),
    )
    return [Step(name=name, before=before, lives=lives) for name, (before, lives) in zip(STEPS, made, strict=True)]


def ingest(source: str, path: Path, at: datetime, *more: str) -> Command:
    """The command that brings an extract in."""
    return ("ingest", source, "--from", str(path), "--as-of", at.isoformat(), *more)


def in_order(ended: Run, name: str) -> Run:
    """Let through a run that came to its end."""
    if ended.exit_code != 0:
        raise AssertionError(f"{name} ended with {ended.exit_code}: {ended.said}")
    return ended


def _apart(small: HospitalFiles, folder: Path) -> tuple[Path, Path]:
    """The same history as two extracts: results that come first and wait, then the patients and stays they are of."""
    results, patients = folder / "results", folder / "patients"
    for path in small.history.glob("*.ndjson"):
        part = patients if path.name.startswith(PATIENTS) else results
        part.mkdir(exist_ok=True)
        shutil.copy(path, part)
    return results, patients


def _send(at: datetime) -> Command:
    return ("write-back", "--as-of", at.isoformat())


def _grown(home: Path, name: str, *commands: Command) -> Path:
    grown = home.with_name(name)
    shutil.copytree(home, grown)
    for command in commands:
        in_order(run(grown, command), command[0])
    return grown
