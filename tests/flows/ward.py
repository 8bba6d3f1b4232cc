"""A ward whose discharges are told one by one, and scored by a model that is told: for stories of the round itself."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from sqlalchemy import insert, select

from flows.due import Before, Round, due_rows
from flows.house import House, Part, Snapshot
from flows.score import batches, purpose_of
from integrations.duck import connect
from integrations.records import schema as s
from integrations.settings import Settings
from integrations.snapshot import Feed
from models.cases import open_facts
from models.catalog import use_case
from models.governance.people import add_person
from models.governance.signing import load_signer
from models.governance.stages import set_stage
from models.score_records import Circumstances, RunAccount, account_of, add_to_run, write_scores
from models.scoring import excluded_rows, score_rows
from tests.models.made import holds

CASE = use_case("readmission_30d")
NIGHT = datetime(2024, 7, 5, 6, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Half:
    """A scorer to whom everybody is at a risk of a half."""

    version, manifest_hash, feature_names = 1, "f" * 64, CASE.feature_names

    def predict(self, frame: pa.Table) -> Any:
        return np.full(frame.num_rows, 0.5)


class WardHouse(House):
    """A house whose lake is what the ward's feed has sent."""

    ward: "Ward"

    def open_snapshot(self, snapshot: Snapshot, part: Part = None) -> duckdb.DuckDBPyConnection:
        return self.ward.lake()


@dataclass
class Ward:
    """A site that scores silently, and what its feed has sent so far."""

    house: House
    folder: Path
    facts: dict[str, list[dict[str, Any]]]
    runs: int = 0

    def discharge(self, name: str, known_at: datetime, **changes: Any) -> None:
        """Somebody of 70 years goes home, which is known 2 h later."""
        head = {"source": "ehr", "site_id": "demo", "patient_id": f"ehr/{name}", "is_retracted": False}
        head |= {"extract_id": f"x{len(self.facts['encounter']):03d}", "source_file": "f", "source_line": 1}
        ended_at = known_at - 2 * HOUR
        stay = {"encounter_id": f"ehr/{name}", "class": "inpatient", "started_at": ended_at - 3 * DAY}
        born = {"birth_date": date(1954, 1, 1), "available_at": ended_at - 3 * DAY}
        self.facts["patient"].append(head | born)
        ended = {"available_at": known_at, "ended_at": ended_at, "discharge_disposition": "home"}
        self.facts["encounter"].append(head | stay | ended | changes)

    def measure(self, name: str, code: str, at: datetime) -> None:
        """A result of the first patient, known once it was collected."""
        head = {"source": "ehr", "site_id": "demo", "patient_id": self.facts["patient"][0]["patient_id"]}
        head |= {"extract_id": "x", "source_file": "f", "source_line": 1, "is_retracted": False}
        result = {"observation_id": f"ehr/{name}", "code": code, "value_number": 1.0, "effective_at": at}
        self.facts["observation"].append(head | result | {"available_at": at})

    def quarantine(self, patient: str, code: str, at: datetime, *, at_door: datetime | None = None) -> None:
        """A result of somebody was set aside at the door."""
        place = {"extract_id": "x", "source": "ehr", "table_name": "observation", "source_file": "f", "source_line": 1}
        what = {"reason": "unknown_unit", "detail": "", "record_hash": "x", "bytes": b"", "code": code}
        when = {"effective_at": at, "quarantined_at": at_door or at}
        with self.house.records.begin() as connection:
            connection.execute(insert(s.quarantine).values(**place, **what, **when, patient_id=f"ehr/{patient}"))

    def lake(self) -> duckdb.DuckDBPyConnection:
        connection = connect(self.folder / "tmp", threads=1)
        feed = Feed(source="ehr", site_id="demo", time_zone="UTC", lateness=DAY)
        open_facts(connection, self.facts, [feed], self.folder / "lake")
        return connection

    def score(self, as_of: datetime, **changes: Any) -> RunAccount:
        """One scoring run, from who is due to the rows in records; the model is the only part that is told."""
        with self.house.records.read() as connection:
            this = replace(round_at(as_of), before=Before.of(connection, CASE.name), **changes)
        self.runs += 1
        rows, account = due_rows(self.house, self.lake(), this), RunAccount()
        values = {"run_id": f"r{self.runs}", "kind": "score", "use_case": CASE.name, "as_of": as_of}
        with self.house.records.begin() as connection:
            connection.execute(insert(s.run).values(**values, started_at=as_of, status="running"))
        for batch in batches(this, rows, with_ones(rows.spine)):
            made = (
                excluded_rows(Half(), batch.frame, CASE)
                if batch.is_excluded
                else score_rows(Half(), batch.frame, CASE, holds())
            )
            under = Circumstances(
                run_id=values["run_id"],
                purpose=batch.purpose,
                stage=batch.stage,
                view_versions={},
                snapshot_id=1,
                scored_at=as_of,
            )
            with self.house.records.begin() as connection:
                write_scores(connection, made, under, explanations={}, identifier=lambda *key: str(key))
            account += account_of(made)
        with self.house.records.begin() as connection:
            add_to_run(
                connection,
                values["run_id"],
                account,
                due=rows.count,
                purpose=purpose_of(this, rows),
                version=1,
                snapshot_id=1,
            )
            connection.execute(s.run.update().values(status="done"))
        return account

    def purposes(self) -> list[tuple[str, str]]:
        wanted = select(s.score.c.encounter_id, s.score.c.purpose).order_by(s.score.c.scored_at, s.score.c.encounter_id)
        with self.house.records.read() as connection:
            return [(row.encounter_id, row.purpose) for row in connection.execute(wanted)]


def round_at(as_of: datetime) -> Round:
    snapshot = Snapshot(snapshot_id=1, versions={})
    return Round(case=CASE, as_of=as_of, snapshot=snapshot, version=1, is_champion=True, all_due=False)


def with_ones(spine: pa.Table) -> pa.Table:
    for name in CASE.feature_names:
        spine = spine.append_column(name, pa.array([1.0] * spine.num_rows))
    return spine


def open_ward(home: Path, folder: Path) -> Ward:
    """A ward of which nothing has come in yet."""
    house = WardHouse(Settings(home=home))
    key = folder / "ada.key"
    add_person(house.records, name="Ada", role="governance", key_out=key, as_of=NIGHT - DAY, signer=None, home=home)
    set_stage(
        house.records,
        site_id="demo",
        sites=["demo"],
        use_case=CASE.name,
        stage="silent",
        signer=load_signer("Ada", key),
        reason="begin",
        as_of=NIGHT - DAY,
    )
    with house.records.begin() as connection:
        connection.execute(insert(s.snapshot).values(snapshot_id=1, created_at=NIGHT, versions={}))
        extract = {"extract_id": "x", "source": "ehr", "site_id": "demo", "received_at": NIGHT, "digest": "x"}
        connection.execute(insert(s.extract).values(**extract, is_history=0, status="committed"))
    house.ward = Ward(house, folder, {"patient": [], "encounter": [], "observation": []})
    return house.ward
