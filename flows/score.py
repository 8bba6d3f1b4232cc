"""Score every patient who is due, and queue what goes back to the EHR."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from prefect import flow

from flows.anew import AnewIn
from flows.build_features import features_of, views_of
from flows.due import DueRows, Round, due_rows, live_purpose
from flows.house import House, Part, at, open_house
from flows.parameters import AsOf, UseCaseName, Version, described
from flows.parts import in_parts
from flows.run_log import recorded_run
from flows.step import step, tell
from integrations.errors import NotInOrder
from models.cohort import excluded
from models.rows import row_keys
from models.score_records import (
    PURPOSES,
    Circumstances,
    Explanation,
    Identifier,
    RunAccount,
    Written,
    account_of,
    add_to_run,
    is_counted,
    recorded_account,
    stand_in_run,
    write_scores,
)
from models.superseded import StandingScore, are_as_found, supersede, superseded_count

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from models.artifacts import RegisteredModel
    from models.scoring import ScoredRows

LOOKS = 4  # at who is due of a part, in a row, that find no fewer since somebody else writes them
ROWS_AT_ONCE = 100_000  # of one part, with their features, in memory and in one transaction
AllDue = Annotated[bool, described("Also every older prediction time that has no score, silently (purpose backfill).")]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows that are scored under one purpose and stage; or for whom no prediction is made, then without features."""

    purpose: str
    stage: str
    frame: "pa.Table"
    is_excluded: bool = False


@dataclass(frozen=True, kw_only=True)
class ScoredBatch:
    """A batch with what the model concluded, before it is written."""

    rows: "ScoredRows"
    under: Circumstances
    explanations: Mapping[int, Explanation]


@dataclass(frozen=True, kw_only=True)
class ScoringRun:
    """What became of those who were due, or of a part of them: due = scored + held + excluded; and what is new."""

    purpose: str
    version: int
    due: int = 0
    account: RunAccount = field(default_factory=RunAccount)
    new_scores: int = 0
    queued: int = 0
    superseded: int = 0  # scores whose place new ones took, since their inputs have changed
    left: Mapping[str, int] = field(default_factory=dict)  # scores that stay as they are, by reason

    def __add__(self, other: "ScoringRun") -> "ScoringRun":
        return ScoringRun(
            purpose=max(self.purpose, other.purpose, key=PURPOSES.index),
            version=self.version,
            due=self.due + other.due,
            account=self.account + other.account,
            new_scores=self.new_scores + other.new_scores,
            queued=self.queued + other.queued,
            superseded=self.superseded + other.superseded,
            left=dict(Counter(self.left) + Counter(other.left)),
        )


@flow(name="score")
def score(use_case: UseCaseName, as_of: AsOf = None, version: Version = None, all_due: AllDue = False) -> ScoringRun:
    """Score every patient who is due, and queue what goes back to the EHR."""
    house, moment = open_house(), at(as_of)
    this = Round.of(house, use_case, as_of=moment, version=version, all_due=all_due)
    this.scoring_version()
    with recorded_run(house, "score", as_of=moment, use_case=use_case) as run_id:
        run = score_round(house, this, run_id, dry_run=False)
        account = run.account
        tell(
            f"{use_case} version {run.version}: {run.due:,} due rows in = {account.scored:,} scored "
            f"+ {account.held:,} held + {account.excluded:,} excluded; {run.new_scores:,} new scores out, "
            f"{run.queued:,} queued for the EHR"
        )
        if run.superseded:
            tell(f"{use_case}: {run.superseded:,} earlier scores superseded, since their inputs have changed")
        return run


def score_round(house: House, this: Round, run_id: str, *, dry_run: bool) -> ScoringRun:
    """Score one round, part after part; a dry run does the same work and writes nothing but features."""
    run = sum(in_parts(house, score_part, this, run_id, dry_run), none_yet(this))
    return run if dry_run else _as_recorded(house, run, run_id)


def score_part(house: House, this: Round, part: Part, run_id: str, dry_run: bool) -> ScoringRun:
    """Score those of one part who are due. What was written of it before its worker was lost is not due again."""
    model = approved_model(house, this)
    lake = house.open_snapshot(this.snapshot, part)
    find_anew = AnewIn(house=house, lake=lake, this=this, part=part, run_id=run_id)
    run, due_before, looks = none_yet(this), 0, 0
    while looks < LOOKS:
        all_rows = due_rows(house, lake, this, find_anew)
        for rows in slices(all_rows):
            frame, holds = known_of(house, lake, this, part, rows.spine)
            scored = [score_batch(house, this, model, batch, holds, run_id) for batch in batches(this, rows, frame)]
            kept = keep(house, this, rows, scored, run_id, dry_run)
            if kept is None:
                break
            run += kept
            if all_rows.count > ROWS_AT_ONCE:
                tell(f"{run.due:,} of {all_rows.count:,} rows of this part done")
        else:
            return replace(run, left=all_rows.left)
        looks = 0 if all_rows.count < due_before else looks + 1
        due_before = all_rows.count
    raise NotInOrder(
        f"{due_before:,} rows of a part are due, however often it is looked, and another writer has them each time",
        where=run_id,
        to_do="end the other round of this use case, then score once more: what is written stays",
    )


def slices(rows: DueRows) -> Iterator[DueRows]:
    """Cut the older rows of a part, of which one stay may have many; the newest of all stays come at once."""
    yield replace(rows, backfill=rows.backfill.slice(0, ROWS_AT_ONCE))
    for first in range(ROWS_AT_ONCE, rows.backfill.num_rows, ROWS_AT_ONCE):
        yield replace(rows, live=rows.live.slice(0, 0), backfill=rows.backfill.slice(first, ROWS_AT_ONCE))


def _as_recorded(house: House, run: ScoringRun, run_id: str) -> ScoringRun:
    """A run as its row in records has it: a part that was tried again says only what its last try came to."""
    with house.records.read() as connection:
        account, written = recorded_account(connection, run_id)
        superseded = superseded_count(connection, run_id)
    run = replace(run, due=account.due, account=account, superseded=superseded)
    return replace(run, new_scores=written.scores, queued=written.outbox)


def none_yet(this: Round) -> ScoringRun:
    """A round of which no part is done: what its parts came to is added to it."""
    return ScoringRun(purpose=PURPOSES[0], version=this.scoring_version())


@step
def approved_model(house: House, this: Round) -> "RegisteredModel":
    """Load the version once every file of it is as it was when people signed it."""
    return house.model(this.case.name, this.scoring_version())


def batches(this: Round, rows: DueRows, frame: "pa.Table") -> list[Batch]:
    """Cut the due rows by purpose and stage: a site's stage decides what its newest rows are for."""
    import pyarrow.compute as pc

    live_count = rows.live_spine.num_rows
    live, older = frame.slice(0, live_count), frame.slice(live_count)
    found = []
    for site, stage in sorted(rows.stages.items()):
        newest = live_purpose(this, stage)
        for purpose, part, is_excluded in (
            (newest, live, False),
            ("backfill", older, False),
            (newest, excluded(rows.live), True),
            ("backfill", excluded(rows.backfill), True),
        ):
            of_site = part.filter(pc.equal(part["site_id"], site))
            found.append(Batch(purpose=purpose, stage=stage, frame=of_site, is_excluded=is_excluded))
    return [batch for batch in found if batch.frame.num_rows]


def purpose_of(this: Round, rows: DueRows) -> str:
    """One word for the run: what its newest rows were for, else what the use case's stage would make them."""
    if this.window or (rows.live.num_rows == 0 and rows.backfill.num_rows):
        return "backfill"
    purposes = {live_purpose(this, stage) for stage in rows.stages.values()} - {"off"}
    return max(purposes or {live_purpose(this, "silent")}, key=PURPOSES.index)


@step
def known_of(
    house: House, lake: "duckdb.DuckDBPyConnection", this: Round, part: Part, spine: "pa.Table"
) -> tuple["pa.Table", "pa.Table"]:
    """What is known of the due rows: their features, and which feature views are held for whom."""
    from features.held import held_features

    frame = features_of(house, this, part, spine)
    with house.records.read() as connection:
        return frame, held_features(connection, lake, spine, views_of(this.case), this.as_of)


@step
def score_batch(
    house: House, this: Round, model: "RegisteredModel", batch: Batch, holds: "pa.Table", run_id: str
) -> ScoredBatch:
    """Scores, and explanations of those that go back or ask for action. An excluded row is noted once, too."""
    from models.explanation import explain
    from models.scoring import excluded_rows, rows_to_explain, score_rows

    if batch.is_excluded:
        rows = excluded_rows(model, batch.frame, this.case)
    else:
        rows = score_rows(model, batch.frame, this.case, holds)
    under = Circumstances(
        run_id=run_id,
        purpose=batch.purpose,
        stage=batch.stage,
        view_versions=house.store.view_versions(views_of(this.case)),
        snapshot_id=this.snapshot.snapshot_id,
        scored_at=this.as_of,
    )
    wanted = rows_to_explain(rows, is_written_back=batch.purpose == "live")
    explanations = explain(model, batch.frame, wanted) if wanted else {}
    return ScoredBatch(rows=rows, under=under, explanations=explanations)


@step
def keep(
    house: House, this: Round, rows: DueRows, scored: list[ScoredBatch], run_id: str, dry_run: bool
) -> ScoringRun | None:
    """Scores, outbox rows and their account come to rest in one transaction, or none of them does.

    None where another has written some of them meanwhile: a copy of this part, whose worker was only thought lost, or a
    round that knew more and made the same scores anew. Then who is due must be looked at once more.
    """
    written = Written(scores=0, outbox=0, already_there=0)
    identifier = _identifier(house, this.case.name)
    with house.records.begin(dry_run=dry_run) as connection:
        if dry_run:
            stand_in_run(connection, run_id, this.as_of)
        if any(is_counted(connection, batch.rows, batch.under) for batch in scored):
            return None
        old = [each for batch in scored for each in _giving_way(rows, batch)]
        if not are_as_found(connection, old, snapshot_id=this.snapshot.snapshot_id):
            return None
        superseded = supersede(connection, [each.score_id for each in old], run_id=run_id, at=this.as_of)
        for batch in scored:
            written += write_scores(
                connection, batch.rows, batch.under, explanations=batch.explanations, identifier=identifier
            )
        run = ScoringRun(
            purpose=purpose_of(this, rows),
            version=this.scoring_version(),
            due=rows.count,
            account=sum((account_of(batch.rows) for batch in scored), RunAccount()),
            new_scores=written.scores,
            queued=written.outbox,
            superseded=superseded,
        )
        add_to_run(
            connection,
            run_id,
            run.account,
            due=run.due,
            purpose=run.purpose,
            version=run.version,
            snapshot_id=this.snapshot.snapshot_id,
        )
    return run


def _giving_way(rows: DueRows, batch: ScoredBatch) -> list[StandingScore]:
    """The scores in whose place those of this batch are made anew."""
    keys = row_keys(batch.rows.keys) if rows.anew else []
    return [each for key in keys for each in rows.anew.get(key, ())]


def _identifier(house: House, use_case: str) -> Identifier:
    from integrations.write_back.identifier import score_identifier, site_namespace

    def identifier(site_id: str, encounter_id: str, prediction_time: datetime) -> str:
        namespace = site_namespace(house.settings.secrets, site_id)
        return score_identifier(namespace, site_id, use_case, encounter_id, prediction_time)

    return identifier
