"""A score gives way to a new one of the same stay and time: it is kept as it was, with the run that superseded it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, literal, select

from integrations.records import schema as s
from integrations.records.instant import Instant

ASKED_AT_ONCE = 10_000  # scores that are moved by one statement


def supersede(connection: Connection, score_ids: Sequence[str], *, run_id: str, at: datetime) -> int:
    """Take these scores out of those that stand, within the caller's transaction, and return how many went.

    One that waits for the EHR goes with its place in the outbox, as long as nobody has tried to send it: its identifier
    is free for the new one. What was handed over stays.
    """
    moved = 0
    for first in range(0, len(score_ids), ASKED_AT_ONCE):
        mine = s.score.c.score_id.in_(score_ids[first : first + ASKED_AT_ONCE])
        connection.execute(
            delete(s.outbox).where(
                s.outbox.c.score_id.in_(select(s.score.c.score_id).where(mine)),
                s.outbox.c.status == "queued",
                s.outbox.c.attempts == 0,
            )
        )
        given_up = mine & s.score.c.score_id.not_in(select(s.outbox.c.score_id))
        as_it_was = select(*s.score.c, literal(at, Instant()), literal(run_id)).where(given_up)
        columns = [*(each.name for each in s.score.c), "superseded_at", "superseded_by"]
        connection.execute(insert(s.superseded_score).from_select(columns, as_it_was))
        moved += connection.execute(delete(s.score).where(given_up)).rowcount
    return moved


def superseded_count(connection: Connection, run_id: str) -> int:
    """Return how many scores a run has superseded."""
    mine = s.superseded_score.c.superseded_by == run_id
    return connection.execute(select(func.count()).select_from(s.superseded_score).where(mine)).scalar_one()
