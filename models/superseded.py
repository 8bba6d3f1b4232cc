"""A score gives way to a new one of the same stay and time: it is kept as it was, with the run that superseded it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, literal, select

from integrations.records import in_slices
from integrations.records import schema as s
from integrations.records.instant import Instant


@dataclass(frozen=True, kw_only=True)
class StandingScore:
    """A score as it stood when a round looked who is due."""

    score_id: str
    run_id: str
    snapshot_id: int
    purpose: str
    status: str


def are_as_found(connection: Connection, found: Sequence[StandingScore], *, snapshot_id: int) -> bool:
    """Whether all of these may give way to a round over this snapshot; locks them for the caller's transaction.

    Not where one is gone, was made anew by another run, knows more than this round, or was handed over to the EHR.
    """
    for some in in_slices(found):
        ids = [each.score_id for each in some]
        its = s.score.c
        standing = select(its.score_id, its.run_id, its.snapshot_id).where(its.score_id.in_(ids))
        rows = connection.execute(standing.order_by(its.score_id).with_for_update()).all()
        waiting = select(s.outbox.c.status, s.outbox.c.attempts).where(s.outbox.c.score_id.in_(ids))
        places = connection.execute(waiting.order_by(s.outbox.c.score_id).with_for_update()).all()
        is_newer = any(row.snapshot_id > snapshot_id for row in rows)
        if is_newer or any(place != ("queued", 0) for place in map(tuple, places)):
            return False
        if set(map(tuple, rows)) != {(each.score_id, each.run_id, each.snapshot_id) for each in some}:
            return False
    return True


def supersede(connection: Connection, score_ids: Sequence[str], *, run_id: str, at: datetime) -> int:
    """Take these scores out of those that stand, within the caller's transaction, and return how many went.

    One that waits for the EHR goes with its place in the outbox, as long as nobody has tried to send it: its identifier
    is free for the new one. What was handed over stays. The caller has asked `are_as_found` of them.
    """
    moved = 0
    for some in in_slices(score_ids):
        mine = s.score.c.score_id.in_(some)
        connection.execute(
            delete(s.outbox).where(
                s.outbox.c.score_id.in_(select(s.score.c.score_id).where(mine)),
                s.outbox.c.status == "queued",
                s.outbox.c.attempts == 0,
            )
        )
        waits = select(s.outbox.c.score_id).where(s.outbox.c.score_id == s.score.c.score_id)
        given_up = mine & ~waits.exists()
        as_it_was = select(*s.score.c, literal(at, Instant()), literal(run_id)).where(given_up)
        columns = [*(each.name for each in s.score.c), "superseded_at", "superseded_by"]
        connection.execute(insert(s.superseded_score).from_select(columns, as_it_was))
        moved += connection.execute(delete(s.score).where(given_up)).rowcount
    return moved


def superseded_count(connection: Connection, run_id: str) -> int:
    """Return how many scores a run has superseded."""
    mine = s.superseded_score.c.superseded_by == run_id
    return connection.execute(select(func.count()).select_from(s.superseded_score).where(mine)).scalar_one()
