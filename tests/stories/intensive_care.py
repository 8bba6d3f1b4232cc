"""Intensive care whose stays are sent again: told by files, scored by a model that is told; for stories of that."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import select

from flows.explained import Explained, explain
from flows.house import House
from integrations.records import schema as s
from integrations.settings import load_settings
from models.catalog import use_case
from tests.flows.conftest import Rounds

NAME, RATE = "icu_mortality_48h", "icu_vital_signs:heart_rate_last_48h_per_min"
HEAD = "Time,Parameter,Value\n00:00,RecordID,{name}\n00:00,Age,{age}\n00:00,Gender,1\n00:00,ICUType,3\n"
HELD, CORRECTED, SAME, SPOILT, NOTHING_CHARTED, TOO_LATE = "132001", "132002", "132003", "132004", "132005", "132006"
HANDED_OVER, QUEUED = "132008", "132009"  # live scores: the EHR has one, nobody has tried to send the other
Stays = dict[str, tuple[int, str]]  # by RecordID: an age, and the lines of what was measured
FIRST: Stays = {
    HELD: (60, "01:00,HR,90\n02:00,pH,735\n"),
    CORRECTED: (60, "01:00,HR,80\n"),
    SAME: (60, "01:00,HR,70\n"),
    SPOILT: (60, "01:00,HR,75\n"),
    NOTHING_CHARTED: (-1, ""),
    TOO_LATE: (60, "01:00,HR,65\n"),
    HANDED_OVER: (60, "01:00,HR,60\n"),
    QUEUED: (60, "01:00,HR,62\n"),
}
AGAIN: Stays = {
    SAME: (60, "01:00,HR,70\n02:00,Cholesterol,150\n"),  # which no feature draws on
    HELD: (60, "01:00,HR,90\n02:00,pH,7.35\n"),
    CORRECTED: (60, "01:00,HR,100\n"),
    SPOILT: (60, "01:00,HR,75\n02:00,pH,735\n"),
    NOTHING_CHARTED: (60, "01:00,HR,85\n"),
    TOO_LATE: (60, "01:00,HR,65\n60:00,HR,99\n"),  # 60 h is after prediction time
    HANDED_OVER: (60, "01:00,HR,61\n"),
    QUEUED: (60, "01:00,HR,63\n"),
}


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

    def send(self, number: int, stays: Stays) -> None:
        folder = self.folder / str(number)
        folder.mkdir()
        for name, (age, lines) in stays.items():
            (folder / f"{name}.txt").write_text(HEAD.format(name=name, age=age) + lines)
        self.rounds.done("ingest", "physionet2012", "--from", str(folder))

    def score(self, *more: str) -> dict[str, Any]:
        told: dict[str, Any] = self.rounds.done("score", NAME, "--all-due", "--version", "1", "--json", *more).json
        return told

    def scores(self, table: Any = s.score) -> dict[str, tuple[str, float | None]]:
        """Status and risk by RecordID."""
        with self.house.records.read() as connection:
            rows = connection.execute(select(table).order_by(table.c.scored_at)).all()
        return {row.source_encounter_id: (row.status, row.probability) for row in rows}

    def to_the_ehr(self, stays: dict[str, tuple[str, int]]) -> None:
        """Let the scores of these stays be live, each with its place in the outbox and how often it was tried."""
        with self.house.records.begin() as connection:
            for name, (status, attempts) in stays.items():
                mine = s.score.c.source_encounter_id == name
                score_id = connection.execute(select(s.score.c.score_id).where(mine)).scalar_one()
                connection.execute(s.score.update().where(mine).values(purpose="live"))
                given = {"score_id": score_id, "purpose": "live", "identifier": name, "queued_at": datetime.now(UTC)}
                connection.execute(s.outbox.insert().values(**given, status=status, attempts=attempts))

    def explain(self, name: str) -> Explained:
        return explain(self.house, NAME, f"physionet2012/{name}", datetime(2000, 2, 1, tzinfo=UTC), None)

    @property
    def house(self) -> House:
        return House(load_settings({"ROUNDS_HOME": str(self.rounds.home)}))
