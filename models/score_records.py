"""Scores come to rest: score rows, for live ones outbox rows, and the run's account; a repeat adds nothing.

The caller opens the transaction and puts a part of the run into it, with its account: a run that dies leaves no score
that no account counts.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, String, Table, cast, func, select, update

from integrations.errors import NotInOrder
from integrations.records import Every, in_slices, insert_new, insert_rows
from integrations.records import schema as s
from models.rows import datetimes
from models.scoring import ScoredRows

# (site_id, encounter_id, prediction_time) -> the name under which the EHR will know the score
Identifier = Callable[[str, str, datetime], str]
PURPOSES = ("backfill", "shadow", "silent", "live")  # the foremost last
Explanation = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """Under what a batch of scores was made: the same for all its rows."""

    run_id: str
    purpose: str  # live, silent, shadow, backfill
    stage: str
    view_versions: Mapping[str, str]
    snapshot_id: int
    scored_at: datetime


@dataclass(frozen=True, kw_only=True)
class Written:
    """How many rows of score (held and excluded ones too) and of outbox are new, and how many stood there already."""

    scores: int
    outbox: int
    already_there: int

    def __add__(self, other: "Written") -> "Written":
        return Written(
            scores=self.scores + other.scores,
            outbox=self.outbox + other.outbox,
            already_there=self.already_there + other.already_there,
        )


@dataclass(frozen=True, kw_only=True)
class RunAccount:
    """What became of all rows that were due: due = scored + held + excluded, held and excluded by reason."""

    scored: int = 0
    held: int = 0
    excluded: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def due(self) -> int:
        """How many rows it accounts for."""
        return self.scored + self.held + self.excluded

    def __add__(self, other: "RunAccount") -> "RunAccount":
        return RunAccount(
            scored=self.scored + other.scored,
            held=self.held + other.held,
            excluded=self.excluded + other.excluded,
            reasons=dict(Counter(self.reasons) + Counter(other.reasons)),
        )


def write_scores(
    connection: Connection,
    rows: ScoredRows,
    under: Circumstances,
    *,
    explanations: Mapping[int, Explanation],
    identifier: Identifier,
) -> Written:
    """Write what is new of the rows, and queue new live scores for the EHR, within the caller's transaction.

    A score is the same when site, use case, encounter, prediction_time, version and purpose are; the first one stands,
    a held or excluded one too.
    """
    columns = _score_columns(rows, under, explanations)
    written = insert_rows(connection, s.score, columns, skip_existing=True)
    queued = 0
    if under.purpose == "live":
        is_new = rows.is_scored
        if written < rows.keys.num_rows:
            is_new &= np.isin(np.array(columns["score_id"]), _written_by(connection, under.run_id))
        new_rows = np.flatnonzero(is_new)
        queued = insert_rows(
            connection, s.outbox, _outbox_columns(columns, new_rows, under, identifier), skip_existing=True
        )
    return Written(scores=written, outbox=queued, already_there=rows.keys.num_rows - written)


def stand_in_run(connection: Connection, run_id: str, at: datetime) -> None:
    """A plan has no run that its scores could belong to; this one is taken back with them."""
    values = {"run_id": run_id, "kind": "score", "as_of": at, "started_at": at, "status": "running"}
    insert_new(connection, s.run, [values])


def account_of(rows: ScoredRows) -> RunAccount:
    """Count what became of due rows: how many were scored, held and excluded, and why not scored.

    A row counts once, under all its reasons together, so that the reasons add up to held + excluded.
    """
    unscored = np.flatnonzero(~rows.is_scored).tolist()
    return RunAccount(
        scored=int(rows.is_scored.sum()),
        held=int(rows.is_held.sum()),
        excluded=int(rows.is_excluded.sum()),
        reasons=dict(Counter("; ".join(rows.reasons[row]) for row in unscored)),
    )


def add_to_run(
    connection: Connection,
    run_id: str,
    account: RunAccount,
    *,
    due: int,
    purpose: str,
    version: int,
    snapshot_id: int,
) -> None:
    """Add a part to the account of a scoring run, in the transaction of its scores.

    The run has the purpose of its foremost part. Raises NotInOrder when rows that were due are missing from it.
    """
    if due != account.scored + account.held + account.excluded:
        raise NotInOrder(
            f"{due} rows were due; {account.scored} were scored, {account.held} held, {account.excluded} excluded",
            where=run_id,
            to_do="report this: the run does not balance and is not noted as done",
        )
    this = s.run.c.run_id == run_id
    before = connection.execute(select(s.run).where(this).with_for_update()).one()
    whole = account + RunAccount(
        scored=before.scored or 0, held=before.held or 0, excluded=before.excluded or 0, reasons=before.reasons or {}
    )
    values: dict[str, Any] = {"scored": whole.scored, "held": whole.held, "excluded": whole.excluded}
    values |= {"due": due + (before.due or 0), "reasons": dict(whole.reasons)}
    values |= {"purpose": max(purpose, before.purpose or purpose, key=PURPOSES.index)}
    values |= {"version": version, "snapshot_id": snapshot_id}
    connection.execute(update(s.run).where(this).values(**values))


def is_counted(connection: Connection, rows: ScoredRows, under: Circumstances) -> bool:
    """Whether the run of these circumstances has written any of these rows already, and so counted it."""
    ids = _keys(rows, under.purpose)["score_id"]
    # asked by the ids alone: by the run, too, a database would look through all that the run has written so far
    written_by = select(s.score.c.run_id).where(s.score.c.purpose == under.purpose)
    return any(
        under.run_id in connection.execute(written_by.where(s.score.c.score_id.in_(asked))).scalars()
        for asked in in_slices(ids)
    )


def recorded_account(connection: Connection, run_id: str) -> tuple[RunAccount, Written]:
    """Return the account of a run with all its parts, and what it wrote."""
    row = connection.execute(select(s.run).where(s.run.c.run_id == run_id)).one()
    account = RunAccount(scored=row.scored, held=row.held, excluded=row.excluded, reasons=row.reasons)
    mine = select(func.count()).select_from(s.score).where(s.score.c.run_id == run_id)
    sent = select(func.count()).select_from(s.outbox.join(s.score, s.outbox.c.score_id == s.score.c.score_id))
    scores = connection.execute(mine).scalar_one()
    queued = connection.execute(sent.where(s.score.c.run_id == run_id)).scalar_one()
    return account, Written(scores=scores, outbox=queued, already_there=account.due - scores)


def excluded_by_reason(connection: Connection, use_case: str, *, of: Table = s.score) -> dict[str, int]:
    """Count the stays' rows for whom no prediction was made, under all their reasons together, most first."""
    told = cast(of.c.reasons, String).label("told")
    counted = (
        select(told, func.count().label("count"))
        .where(of.c.use_case == use_case, of.c.status == "excluded")
        .group_by(told)
        .order_by(func.count().desc(), told)
    )
    return {"; ".join(orjson.loads(row["told"])): row["count"] for row in connection.execute(counted).mappings()}


def excluded_rows(connection: Connection, use_case: str, *, of: Table = s.score) -> list[dict[str, Any]]:
    """Name the rows for whom no prediction was made, as who sent the stay calls it, each with its reasons."""
    its = of.c
    names = ("source_encounter_id", "site_id", "encounter_id", "prediction_time", "version", "purpose", "reasons")
    wanted = (
        select(*(its[name] for name in names))
        .where(its.use_case == use_case, its.status == "excluded")
        .order_by(its.prediction_time.desc(), its.source_encounter_id, its.version, its.purpose)
    )
    return [dict(row) for row in connection.execute(wanted).mappings()]


def score_id(
    site_id: str, use_case: str, encounter_id: str, prediction_time: datetime, version: int, purpose: str
) -> str:
    """Return the id of a score: the same for the same unique key, in every installation."""
    key = orjson.dumps([site_id, use_case, encounter_id, prediction_time, version, purpose])
    return hashlib.sha256(key).hexdigest()[:32]


def _score_columns(rows: ScoredRows, under: Circumstances, explanations: Mapping[int, Explanation]) -> dict[str, Any]:
    shared = {
        "run_id": under.run_id,
        "use_case": rows.use_case,
        "version": rows.version,
        "purpose": under.purpose,
        "stage": under.stage,
        "manifest_hash": rows.manifest_hash,
        "view_versions": dict(under.view_versions),
        "snapshot_id": under.snapshot_id,
        "scored_at": under.scored_at,
    }
    return (
        _keys(rows, under.purpose)
        | _results(rows, explanations)
        | {name: Every(value) for name, value in shared.items()}
    )


def _keys(rows: ScoredRows, purpose: str) -> dict[str, Any]:
    sites, patients, encounters = (
        rows.keys.column(name).to_pylist() for name in ("site_id", "patient_id", "encounter_id")
    )
    times = datetimes(rows.keys, "prediction_time")
    starts = rows.keys.column("horizon_starts_at").to_pylist()
    return {
        "score_id": [
            score_id(site, rows.use_case, encounter, time, rows.version, purpose)
            for site, encounter, time in zip(sites, encounters, times, strict=True)
        ],
        "site_id": sites,
        "patient_id": patients,
        "encounter_id": encounters,
        "source_encounter_id": [encounter.partition("/")[2] for encounter in encounters],
        "prediction_time": times,
        "horizon_starts_at": starts,
    }


def _results(rows: ScoredRows, explanations: Mapping[int, Explanation]) -> dict[str, Any]:
    is_scored, count = rows.is_scored.tolist(), rows.keys.num_rows
    status = np.where(rows.is_held, "held", np.where(rows.is_excluded, "excluded", "scored"))
    risk, above = rows.probability.tolist(), rows.is_at_or_above_threshold.astype(int).tolist()
    return {
        "status": status.tolist(),
        "probability": [p if scored else None for scored, p in zip(is_scored, risk, strict=True)],
        "band": rows.band,
        "is_at_or_above_threshold": [flag if scored else None for scored, flag in zip(is_scored, above, strict=True)],
        "reasons": [rows.reasons.get(row, ()) for row in range(count)] if rows.reasons else Every([]),
        "explanation": [explanations.get(row) for row in range(count)] if explanations else Every(None),
    }


def _outbox_columns(
    columns: Mapping[str, Any], rows: Any, under: Circumstances, identifier: Identifier
) -> dict[str, Any]:
    ids, sites, encounters, times = (
        columns[name] for name in ("score_id", "site_id", "encounter_id", "prediction_time")
    )
    return {
        "score_id": [ids[row] for row in rows],
        "purpose": Every(under.purpose),
        "identifier": [identifier(sites[row], encounters[row], times[row]) for row in rows],
        "status": Every("queued"),
        "attempts": Every(0),
        "queued_at": Every(under.scored_at),
    }


def _written_by(connection: Connection, run_id: str) -> list[str]:
    """The scores that this run has written and that hold a probability."""
    mine = select(s.score.c.score_id).where(s.score.c.run_id == run_id, s.score.c.status == "scored")
    return list(connection.execute(mine).scalars())
