"""The outbox: what is to go to the EHR, and what became of it.

queued -> sent -> acknowledged | failed (tried again at next_attempt_at) | dead (no try will pass: for people).
`sent` is a claim: the row was handed over and the answer is not yet noted. While its lease runs nobody else takes it;
after that (the process died) it is sent again under the same identifier. `attempts` numbers the claims, so that one who
comes late with an answer changes nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, or_, select, update

from integrations.fhir.risk_assessment import RiskScore
from integrations.records.schema import outbox, score
from integrations.write_back.target import Delivery

STATUSES = ("queued", "sent", "acknowledged", "failed", "dead")
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of the outbox that this process may send, and the number of its try."""

    score: RiskScore
    attempt: int


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """One row of the outbox, for people who look after it. Instants are UTC."""

    score_id: str
    use_case: str
    status: str
    attempts: int
    queued_at: datetime
    next_attempt_at: datetime | None
    acknowledged_at: datetime | None
    location: str | None
    last_error: str | None


def due(connection: Connection, use_cases: Collection[str], *, as_of: datetime) -> list[RiskScore]:
    """Return every score that would be sent now, oldest first."""
    rows = connection.execute(_scores().where(_is_due(as_of), score.c.use_case.in_(use_cases)).order_by(*_OLDEST_FIRST))
    return [_risk_score(row) for row in rows.mappings()]


def claim(
    connection: Connection, use_cases: Collection[str], *, as_of: datetime, lease: timedelta, limit: int
) -> list[Claim]:
    """Take up to `limit` due rows for this process alone, until `as_of + lease`. The caller commits before it sends."""
    candidates = (
        select(outbox.c.score_id)
        .join(score, score.c.score_id == outbox.c.score_id)
        .where(_is_due(as_of), score.c.use_case.in_(use_cases))
        .order_by(*_OLDEST_FIRST)
        .limit(limit)
    )
    taken = connection.execute(
        update(outbox)
        .where(outbox.c.score_id.in_(candidates.scalar_subquery()), _is_due(as_of))
        .values(status="sent", attempts=outbox.c.attempts + 1, sent_at=as_of, next_attempt_at=as_of + lease)
        .returning(outbox.c.score_id, outbox.c.attempts)
    )
    attempts = {row.score_id: row.attempts for row in taken}
    rows = connection.execute(_scores().where(outbox.c.score_id.in_(attempts)).order_by(*_OLDEST_FIRST)).mappings()
    return [Claim(score=_risk_score(row), attempt=attempts[row["score_id"]]) for row in rows]


def settle(connection: Connection, claims: Sequence[Claim], deliveries: Sequence[Delivery], *, as_of: datetime) -> None:
    """Note what became of each claimed row, unless the claim ran out and somebody else has taken it."""
    for mine, delivery in zip(claims, deliveries, strict=True):
        is_mine = and_(
            outbox.c.score_id == mine.score.score_id, outbox.c.status == "sent", outbox.c.attempts == mine.attempt
        )
        connection.execute(update(outbox).where(is_mine).values(**_outcome(delivery, mine.attempt, as_of)))


def _outcome(delivery: Delivery, attempt: int, as_of: datetime) -> dict[str, Any]:
    is_done, is_failed = delivery.status == "acknowledged", delivery.status == "failed"
    wait = max(delivery.retry_after, min(FIRST_WAIT * 2 ** min(attempt - 1, 16), LONGEST_WAIT))
    return {
        "status": delivery.status,
        "location": delivery.location,
        "last_error": delivery.reason,
        "acknowledged_at": as_of if is_done else None,
        "next_attempt_at": as_of + wait if is_failed else None,
    }


def outbox_report(connection: Connection) -> dict[str, int]:
    """Return how many rows of the outbox stand at each status."""
    counts = connection.execute(select(outbox.c.status, func.count()).group_by(outbox.c.status))
    return dict.fromkeys(STATUSES, 0) | {status: count for status, count in counts}


def outbox_rows(connection: Connection, statuses: Collection[str] = ("failed", "dead")) -> list[OutboxRow]:
    """Return the rows at these statuses, oldest first; by default those that somebody should look at."""
    columns = [each for each in outbox.c if each.name in OutboxRow.__dataclass_fields__]
    rows = connection.execute(
        select(*columns, score.c.use_case)
        .join(score, score.c.score_id == outbox.c.score_id)
        .where(outbox.c.status.in_(statuses))
        .order_by(*_OLDEST_FIRST)
    ).mappings()
    return [OutboxRow(**row) for row in rows]


_OLDEST_FIRST = (outbox.c.queued_at, outbox.c.score_id)


def _is_due(as_of: datetime) -> ColumnElement[bool]:
    is_time = or_(outbox.c.next_attempt_at.is_(None), outbox.c.next_attempt_at <= as_of)
    is_open = outbox.c.status.in_(("queued", "failed", "sent"))
    return and_(is_open, is_time, outbox.c.queued_at <= as_of)


def _scores() -> Any:
    return select(score, outbox.c.identifier).join(outbox, score.c.score_id == outbox.c.score_id)


def _risk_score(row: RowMapping) -> RiskScore:
    values: dict[str, Any] = {name: row[name] for name in RiskScore.__dataclass_fields__}
    values["explanation"] = row["explanation"] or ()
    return RiskScore(**values)
