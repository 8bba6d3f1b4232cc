"""The outbox: what is to go to the EHR, and what became of it.

queued -> sent -> acknowledged | failed (tried again at next_attempt_at) | dead (no try will pass: for people)
                  | void (may not go out any more: not the champion's, or too old).
`sent` is a claim: the row was handed over and the answer is not yet noted. While its lease runs nobody else takes it;
after that (the process died) it is sent again under the same identifier. `attempts` numbers the claims, so that one who
comes late with an answer changes nothing; a claim whose row never left the house is given back. Rows tried least go
first, so that one on which every try breaks holds up no other.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, or_, select, tuple_, update

from integrations.fhir.risk_assessment import RiskScore
from integrations.records.schema import outbox, score
from integrations.write_back.target import Delivery

STATUSES = ("queued", "sent", "acknowledged", "failed", "dead")  # as people are told
OPEN = ("queued", "failed", "sent")
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=6)
GIVE_UP_AFTER = 8  # failures of a row's own; a target that is down is waited for until the score is too old

Keys = Collection[tuple[str, str]]  # site_id and use case


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of the outbox that this process may send, and the number of its try.

    `failure_count`: how often it failed by itself, and not because the target was down.
    """

    score: RiskScore
    site_id: str
    attempt: int
    failure_count: int


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


def due(connection: Connection, keys: Keys, *, as_of: datetime) -> list[Claim]:
    """Return every row that would be claimed now, in order."""
    rows = connection.execute(_rows().where(_is_due(as_of), _is_of(keys)).order_by(*_LEAST_TRIED_FIRST))
    return [_claim(row, row["attempts"] + 1) for row in rows.mappings()]


def claim(connection: Connection, keys: Keys, *, as_of: datetime, lease: timedelta, limit: int) -> list[Claim]:
    """Take up to `limit` due rows for this process alone, until `as_of + lease`. The caller commits before it sends."""
    candidates = (
        select(outbox.c.score_id)
        .join(score, score.c.score_id == outbox.c.score_id)
        .where(_is_due(as_of), _is_of(keys))
        .order_by(*_LEAST_TRIED_FIRST)
        .limit(limit)
    )
    taken = connection.execute(
        update(outbox)
        .where(outbox.c.score_id.in_(candidates.scalar_subquery()), _is_due(as_of))
        .values(status="sent", attempts=outbox.c.attempts + 1, sent_at=as_of, next_attempt_at=as_of + lease)
        .returning(outbox.c.score_id)
    )
    mine = list(taken.scalars())
    rows = connection.execute(_rows().where(outbox.c.score_id.in_(mine)).order_by(*_LEAST_TRIED_FIRST)).mappings()
    return [_claim(row, row["attempts"]) for row in rows]


def given_up(mine: Claim, delivery: Delivery) -> Delivery:
    """Return the delivery as it is settled: one that fails by itself too often is dead."""
    count = mine.failure_count + _is_own_failure(delivery)
    if not _is_own_failure(delivery) or count < GIVE_UP_AFTER:
        return delivery
    return Delivery(status="dead", reason=f"given up after {count} failures, the last: {delivery.reason}")


def settle(connection: Connection, claims: Sequence[Claim], deliveries: Sequence[Delivery], *, as_of: datetime) -> None:
    """Note what became of each claimed row, unless the claim ran out and somebody else has taken it."""
    for mine, delivery in zip(claims, deliveries, strict=True):
        is_mine = and_(
            outbox.c.score_id == mine.score.score_id, outbox.c.status == "sent", outbox.c.attempts == mine.attempt
        )
        connection.execute(update(outbox).where(is_mine).values(**_outcome(mine, delivery, as_of)))


def _outcome(mine: Claim, delivery: Delivery, as_of: datetime) -> dict[str, Any]:
    is_done, is_failed = delivery.status == "acknowledged", delivery.status == "failed"
    tries = mine.attempt - delivery.is_untried
    wait = max(delivery.retry_after, min(FIRST_WAIT * 2 ** min(max(tries - 1, 0), 16), LONGEST_WAIT))
    return {
        "status": delivery.status,
        "attempts": tries,
        "failure_count": mine.failure_count + _is_own_failure(delivery),
        "location": delivery.location,
        "last_error": delivery.reason,
        "acknowledged_at": as_of if is_done else None,
        "next_attempt_at": as_of + wait if is_failed else None,
    }


def _is_own_failure(delivery: Delivery) -> bool:
    return delivery.status == "failed" and not delivery.is_target_down


def outbox_report(connection: Connection) -> dict[str, int]:
    """Return how many rows of the outbox stand at each status; void ones, which never go out either, count as dead."""
    rows = connection.execute(select(outbox.c.status, func.count()).group_by(outbox.c.status)).all()
    counts = {status: count for status, count in rows}
    counts["dead"] = counts.get("dead", 0) + counts.pop("void", 0)
    return dict.fromkeys(STATUSES, 0) | counts


def void_report(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many rows are void, by use case and reason."""
    rows = connection.execute(
        select(score.c.use_case, outbox.c.last_error, func.count())
        .join(score, score.c.score_id == outbox.c.score_id)
        .where(outbox.c.status == "void")
        .group_by(score.c.use_case, outbox.c.last_error)
        .order_by(score.c.use_case, outbox.c.last_error)
    )
    return {(use_case, reason): count for use_case, reason, count in rows}


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
_LEAST_TRIED_FIRST = (outbox.c.attempts, *_OLDEST_FIRST)


def _is_due(as_of: datetime) -> ColumnElement[bool]:
    is_time = or_(outbox.c.next_attempt_at.is_(None), outbox.c.next_attempt_at <= as_of)
    return and_(outbox.c.status.in_(OPEN), is_time, outbox.c.queued_at <= as_of)


def _is_of(keys: Keys) -> ColumnElement[bool]:
    return tuple_(score.c.site_id, score.c.use_case).in_(list(keys))


def _rows() -> Select[Any]:
    columns = (outbox.c.identifier, outbox.c.attempts, outbox.c.failure_count)
    return select(score, *columns).join(outbox, score.c.score_id == outbox.c.score_id)


def _claim(row: RowMapping, attempt: int) -> Claim:
    values: dict[str, Any] = {name: row[name] for name in RiskScore.__dataclass_fields__}
    values["explanation"] = row["explanation"] or ()
    return Claim(score=RiskScore(**values), site_id=row["site_id"], attempt=attempt, failure_count=row["failure_count"])
