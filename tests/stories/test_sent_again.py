"""Stays of a feed without a live clock that are sent again, or released from quarantine, are scored anew; no others.

The stays come through the door, the lake and the feature views as any; only the model is told: a risk of a thousandth of
the last heart rate.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import select

from flows.house import House
from integrations.contract import SOURCES
from integrations.records import schema as s
from integrations.settings import load_settings
from models.catalog import use_case
from tests.flows.conftest import Rounds

NAME = "icu_mortality_48h"
HEAD = "Time,Parameter,Value\n00:00,RecordID,{name}\n00:00,Age,{age}\n00:00,Gender,1\n00:00,ICUType,3\n"
HELD, CORRECTED, SAME, SPOILT, WITHOUT_AGE, OLD_NEWS = "1001", "1002", "1003", "1004", "1005", "1006"


class ByHeartRate:
    """A scorer that says a thousandth of the last heart rate."""

    version, manifest_hash = 1, "f" * 64
    feature_names = use_case(NAME).feature_names

    def predict(self, frame: pa.Table) -> Any:
        rate = frame["heart_rate_last_48h_per_min"].to_numpy(zero_copy_only=False)
        return np.nan_to_num(rate.astype(float)) / 1000


@dataclass(frozen=True)
class IntensiveCare:
    """A house that takes in stays of intensive care, and scores them by a model that is told."""

    rounds: Rounds
    folder: Path

    def send(self, number: int, **stays: tuple[int, str]) -> dict[str, Any]:
        """Send stays, by RecordID: an age, and the lines of what was measured."""
        folder = self.folder / str(number)
        folder.mkdir()
        for name, (age, lines) in stays.items():
            (folder / f"{name[1:]}.txt").write_text(HEAD.format(name=name[1:], age=age) + lines)
        told: dict[str, Any] = self.rounds.done("ingest", "physionet2012", "--from", str(folder), "--json").json
        return told

    def score(self, *more: str) -> dict[str, Any]:
        told: dict[str, Any] = self.rounds.done("score", NAME, "--all-due", "--version", "1", "--json", *more).json
        return told

    def scores(self, table: Any = s.score) -> dict[str, tuple[str, float | None]]:
        """Status and risk by RecordID."""
        with House(load_settings({"ROUNDS_HOME": str(self.rounds.home)})).records.read() as connection:
            rows = connection.execute(select(table).order_by(table.c.scored_at)).all()
        return {row.source_encounter_id: (row.status, row.probability) for row in rows}

    def explain(self, name: str, *more: str) -> Any:
        patient = f"physionet2012/{name}"
        return self.rounds.done("features", "explain", NAME, patient, "--as-of", "2000-02-01T00:00:00Z", *more)


@pytest.fixture
def care(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IntensiveCare]:
    monkeypatch.setattr(House, "model", lambda *_: ByHeartRate())
    yield IntensiveCare(Rounds(tmp_path / "home"), tmp_path)


def test_a_stay_that_is_sent_again_is_scored_anew_and_its_old_score_is_kept(care: IntensiveCare) -> None:
    first = {
        f"_{HELD}": (60, "01:00,HR,90\n02:00,pH,735\n"),
        f"_{CORRECTED}": (60, "01:00,HR,80\n"),
        f"_{SAME}": (60, "01:00,HR,70\n"),
        f"_{SPOILT}": (60, "01:00,HR,75\n"),
        f"_{WITHOUT_AGE}": (-1, "01:00,HR,85\n"),
        f"_{OLD_NEWS}": (60, "01:00,HR,65\n"),
    }
    care.send(1, **first)
    run = care.score()
    assert (run["due"], run["scored"], run["held"], run["excluded"]) == (6, 4, 1, 1)
    before = care.scores()
    assert {name: status for name, (status, _) in before.items() if status != "scored"} == {
        HELD: "held",
        WITHOUT_AGE: "excluded",
    }
    assert care.score()["due"] == 0, "nothing has come"

    care.send(2, _1007=(50, "01:00,HR,50\n"))
    assert (care.score("--dry-run")["due"], care.score()["due"]) == (1, 1), "what came is of somebody else"

    care.send(
        3,
        **first
        | {
            f"_{HELD}": (60, "01:00,HR,90\n02:00,pH,7.35\n"),
            f"_{CORRECTED}": (60, "01:00,HR,100\n"),
            f"_{SPOILT}": (60, "01:00,HR,75\n02:00,pH,735\n"),
            f"_{WITHOUT_AGE}": (50, "01:00,HR,85\n"),
            f"_{OLD_NEWS}": (60, "01:00,HR,65\n60:00,HR,99\n"),  # after prediction time
        },
    )
    plan, run = care.score("--dry-run"), care.score()
    assert {**plan, "is_plan": False} == run
    assert (run["due"], run["scored"], run["held"], run["superseded"], run["new_scores"]) == (4, 3, 1, 4, 4)
    changed = {
        HELD: ("scored", 0.09),
        CORRECTED: ("scored", 0.1),
        SPOILT: ("held", None),
        WITHOUT_AGE: ("scored", 0.085),
    }
    assert care.scores() == {**before, "1007": ("scored", 0.05), **changed}
    assert care.scores(s.superseded_score) == {name: before[name] for name in changed}
    assert care.score()["due"] == 0, "the same round twice"


def test_a_stay_that_a_retry_releases_is_scored(care: IntensiveCare, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = shutil.copytree(SOURCES, care.folder / "sources")
    codes = wrong / "physionet2012" / "codes.csv"
    codes.write_text(codes.read_text().replace(",Creatinine,2160-0,mg/dL,", ",Creatinine,2160-0,umol/L,"))
    with monkeypatch.context() as patch:
        patch.setattr("integrations.contract.SOURCES", wrong)
        care.send(1, _1001=(60, "01:00,HR,90\n01:00,Creatinine,1.1\n"), _1002=(60, "01:00,HR,80\n"))
    run = care.score()
    assert (run["scored"], run["held"]) == (1, 1)
    assert care.scores()[HELD] == ("held", None)
    care.rounds.done("quarantine", "retry", "physionet2012")
    run = care.score()
    assert (run["due"], run["scored"], run["superseded"]) == (1, 1, 1)
    assert care.scores()[HELD] == ("scored", 0.09)
    assert care.score()["due"] == 0
