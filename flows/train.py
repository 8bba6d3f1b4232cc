"""Train a candidate, judge it by the gate, register it. It never promotes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from prefect import flow

from flows.build_features import declare, features_of, views_of
from flows.due import Round
from flows.house import House, Part, at, clock, open_house
from flows.parameters import AsOf, UseCaseName, described
from flows.parts import in_parts
from flows.run_log import recorded_run
from flows.step import is_deployed, step, tell
from models.cohort import Labelled, cohort, in_order, labelled
from models.evaluation import Champion, evaluate
from models.gate import Evaluation
from models.governance.people import trainer_of_name
from models.governance.versions import SERVICE, UNNAMED
from models.training import Candidate, without_held
from models.training import train as fit_candidate

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from sqlalchemy import Connection

A_DAY = timedelta(days=1)
TrainedBy = Annotated[str, described("Who trains; a trainer cannot approve. Empty: service:train, as scheduled runs.")]
Seed = Annotated[int, described("The same seed over the same snapshot gives the same model.", minimum=0)]


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What a training came to: how many rows it could use and why not more, and what the gate says."""

    version: int
    row_count: int
    held_row_count: int
    label_reasons: dict[str, int]
    evaluation: Evaluation


@dataclass(frozen=True, kw_only=True)
class LearntFrom:
    """What a part, or all parts, give a training: counts of rows, outcomes and held rows, and the files of the rows."""

    rows: int = 0
    outcomes: int = 0
    held: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, known: Labelled, rows: "pa.Table", held: int) -> "LearntFrom":
        outcomes = sum(rows["label"].to_pylist())
        return cls(rows=rows.num_rows, outcomes=outcomes, held=held, reasons=known.reasons)

    def __add__(self, other: "LearntFrom") -> "LearntFrom":
        return LearntFrom(
            rows=self.rows + other.rows,
            outcomes=self.outcomes + other.outcomes,
            held=self.held + other.held,
            reasons=dict(sorted((Counter(self.reasons) + Counter(other.reasons)).items())),
            files=self.files + other.files,
        )


@flow(name="train")
def train(use_case: UseCaseName, as_of: AsOf = None, seed: Seed = 0, trained_by: TrainedBy = "") -> TrainingRun:
    """Train a candidate on all rows whose outcome is known, judge it on patients it has not seen, and register it."""
    house, moment = open_house(), at(as_of)
    trainer = who_trains(house, trained_by)
    with recorded_run(house, "train", as_of=moment, use_case=use_case) as run_id:
        this = Round.of(house, use_case, as_of=moment)
        house.registry.check_kept(use_case, records=house.records)
        with scratch_folder(house, run_id) as scratch:
            parts = in_parts(house, learn_part, this, scratch)
            frame = training_frame(parts)
        learnt = sum(parts, LearntFrom())
        candidate = fit(this, frame, learnt.held, seed)
        evaluation = judge(house, this, frame, seed)
        version = register(house, this, candidate, evaluation, frame, trainer)
        declare(house, this.case, version)
        tell(
            f"{use_case}: {sum(learnt.reasons.values()):,} cohort rows in, {learnt.rows + learnt.held:,} with a "
            f"final label = {learnt.rows:,} learnt from + {learnt.held:,} held; "
            f"version {version} out, gate: {evaluation.gate}"
        )
        return TrainingRun(
            version=version,
            row_count=frame.num_rows,
            held_row_count=learnt.held,
            label_reasons=dict(learnt.reasons),
            evaluation=evaluation,
        )


def plan(house: House, use_case: str, moment: datetime) -> dict[str, int]:
    """What a training would learn from, without fitting: final labels, outcomes among them, and held rows."""
    learnt = sum(in_parts(house, plan_part, Round.of(house, use_case, as_of=moment)), LearntFrom())
    return {"rows": learnt.rows, "outcomes": learnt.outcomes, "held": learnt.held}


def plan_part(house: House, this: Round, part: Part) -> LearntFrom:
    """Count what could be learnt from one part."""
    lake = house.open_snapshot(this.snapshot, part)
    known = label_cohort(lake, this)
    frame = features_of(house, this, part, known.rows)
    return LearntFrom.of(known, *rows_to_learn_from(house, lake, this, frame))


def learn_part(house: House, this: Round, part: Part, scratch: Path) -> LearntFrom:
    """Lay the training rows of one part, with their features, into the scratch folder."""
    import pyarrow.parquet as pq

    lake = house.open_snapshot(this.snapshot, part)
    known = label_cohort(lake, this)
    frame = features_of(house, this, part, known.rows)
    rows, held = rows_to_learn_from(house, lake, this, frame)
    name = "all" if part is None else str(part.numbers[0])
    file = scratch / f"{name}-{uuid4().hex}.parquet"  # a second copy of this part writes a file of its own
    pq.write_table(rows, file)
    return replace(LearntFrom.of(known, rows, held), files=(file,))


def who_trains(house: House, name: str) -> str:
    """The trainer as records will name them: a registered person, the service in a deployment, else nobody known."""
    if name:
        return trainer_of_name(house.records, name)
    return SERVICE if is_deployed() else UNNAMED


@step
def label_cohort(lake: "duckdb.DuckDBPyConnection", this: Round) -> Labelled:
    """Take the cohort rows whose whole window and lateness have closed, with what came of them."""
    return labelled(lake, this.case, cohort(lake, this.case, this.as_of), this.as_of)


@step
def rows_to_learn_from(
    house: House, lake: "duckdb.DuckDBPyConnection", this: Round, frame: "pa.Table"
) -> tuple["pa.Table", int]:
    """Leave out the rows that a round would hold, or whose outcome is held, and count them."""
    with house.records.read() as connection:
        return without_held(frame, held_rows(connection, lake, this, frame))


def held_rows(
    connection: "Connection", lake: "duckdb.DuckDBPyConnection", this: Round, frame: "pa.Table"
) -> "pa.Table":
    """Name the rows that nothing can be learnt from: a result in quarantine lies on what is known or on what came."""
    import pyarrow as pa

    from features.held import held_features, held_outcomes
    from models.scoring import is_held_of

    case, rows = this.case, frame.select(["site_id", "patient_id", "encounter_id", "prediction_time"])
    holds = held_features(connection, lake, rows, views_of(case), this.as_of)
    outcomes = held_outcomes(connection, lake, rows, case.outcome_codes, case.horizon, this.as_of)
    held = rows.select(outcomes.column_names).filter(pa.array(is_held_of(holds, frame, case)))
    return pa.concat_tables([held, outcomes])


@step
def training_frame(parts: Sequence[LearntFrom]) -> "pa.Table":
    """Put the rows of all parts together, in the order that one part would have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    frames = [pq.read_table(file) for each in parts for file in each.files]
    return frames[0] if len(frames) == 1 else in_order(pa.concat_tables(frames))


@contextmanager
def scratch_folder(house: House, run_id: str) -> Iterator[Path]:
    """Lend a folder for the parts of one run; what it held is gone afterwards, and so is what a killed run left."""
    for left in house.settings.temp.glob("train-*"):
        if clock().timestamp() - left.stat().st_mtime > A_DAY.total_seconds():
            rmtree(left)
    folder = house.settings.temp / run_id
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        rmtree(folder)


@step
def fit(this: Round, frame: "pa.Table", held: int, seed: int) -> Candidate:
    """Fit the use case's model on every row."""
    time_is_usable = not _has_shifted_dates(frame)
    return fit_candidate(this.case, frame, seed=seed, held_row_count=held, time_is_usable=time_is_usable)


@step
def judge(house: House, this: Round, frame: "pa.Table", seed: int) -> Evaluation:
    """Predict held-out patients with the same recipe, and let the gate judge."""
    return evaluate(
        this.case, frame, seed=seed, champion=_champion(house, this), time_is_usable=not _has_shifted_dates(frame)
    )


@step
def register(
    house: House, this: Round, candidate: Candidate, evaluation: Evaluation, frame: "pa.Table", trained_by: str
) -> int:
    """Keep the candidate with its evaluation and its reference for monitoring, whatever the gate says."""
    from models.governance.promotion import challenger
    from models.monitoring.reference import build_reference

    version = house.registry.register(
        this.case,
        candidate,
        evaluation,
        records=house.records,
        reports=house.settings.reports,
        reference=build_reference(frame, this.case.feature_names, predictions=evaluation.held_out),
        as_of=this.as_of,
        trained_by=trained_by,
        snapshot_id=this.snapshot.snapshot_id,
    )
    with house.records.read() as connection:
        newest = challenger(connection, this.case.name)
    if newest is not None:
        house.registry.set_alias(this.case.name, newest, "challenger")
    return version


def _champion(house: House, this: Round) -> Champion | None:
    """The version that scores today, verified, with the rows of its own evaluation."""
    if this.version is None:
        return None
    return house.registry.champion(this.case.name, this.version, records=house.records)


def _has_shifted_dates(frame: "pa.Table") -> bool:
    """Whether rows come from a feed whose dates are moved per patient: then time cannot split them."""
    from integrations.contract import load_contract

    sources = {encounter.partition("/")[0] for encounter in frame["encounter_id"].to_pylist()}
    return any(load_contract(source).is_date_shifted for source in sources)
