"""Whether a feed comes as often as it used to, and with something new in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import duckdb
from sqlalchemy import Connection, select

from integrations.contract import Contract
from integrations.records.schema import extract
from integrations.watch.bounds import MIN_EXTRACTS
from integrations.watch.extent import Extent
from integrations.watch.finding import Found

LOOKED_BACK = 21  # extracts: three weeks of nights
HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Overdue:
    """A feed of which an extract should have come by `due_at`, and none has."""

    source: str
    last_at: datetime
    usual_gap: timedelta
    due_at: datetime

    @property
    def sentence(self) -> str:
        """What is wrong, for people."""
        return (
            f"no extract of {self.source} since {self.last_at:%Y-%m-%d %H:%M} UTC; one comes every "
            f"{self.usual_gap / HOUR:.1f} h, and by its lateness it was due at {self.due_at:%Y-%m-%d %H:%M} UTC"
        )


def overdue(records: Connection, contracts: Sequence[Contract], now: datetime) -> list[Overdue]:
    """The feeds whose next extract is later than its usual gap and the contract's lateness allow, by the clock."""
    found = []
    for contract in contracts:
        received = _received(records, contract.source)
        gap = usual_gap(received)
        if gap is None:
            continue
        due_at = received[-1] + gap + contract.lateness
        if now > due_at:
            found.append(Overdue(source=contract.source, last_at=received[-1], usual_gap=gap, due_at=due_at))
    return found


def usual_gap(received: Sequence[datetime]) -> timedelta | None:
    """The middle of the times between live extracts; None while there are too few of them."""
    if len(received) < MIN_EXTRACTS:
        return None
    gaps = sorted(later - earlier for earlier, later in pairwise(received[-LOOKED_BACK:]))
    return gaps[len(gaps) // 2]


def late_or_stale(connection: duckdb.DuckDBPyConnection, extent: Extent) -> Iterator[Found]:
    """What an extract that came says itself: it came late, or all that it holds was issued long before."""
    received = [
        at
        for (at,) in connection.execute(
            "select received_at from past_window where not is_history and extract_id <> $id order by place",
            {"id": extent.extract_id},
        ).fetchall()
    ]
    gap = usual_gap(received)
    if gap is None or extent.before_at is None:
        return
    allowed = gap + extent.contract.lateness
    came_after = extent.received_at - extent.before_at
    if came_after > allowed:
        yield Found(
            kind="freshness",
            subject="extract",
            severity="warning",
            since_at=extent.before_at,
            evidence={"hours_since_last": _hours(came_after), "usual_hours": _hours(gap)},
            sentence=f"the extract came {_hours(came_after)} h after the one before it, usual are {_hours(gap)} h",
            to_do="ask the sender what happened; scores of the time between were made without these results",
        )
    for (age_minutes,) in connection.execute("select value_count from watch_figure where kind = 'age'").fetchall():
        age = timedelta(minutes=age_minutes)
        if age > allowed:
            yield Found(
                kind="freshness",
                subject="results",
                severity="warning",
                since_at=extent.received_at - age,
                evidence={"hours_since_newest_result": _hours(age), "usual_hours": _hours(gap)},
                sentence=f"the newest result of the extract was issued {_hours(age)} h before it came",
                to_do="ask the sender whether the feed sends what it has sent before",
            )


def _received(records: Connection, source: str) -> list[datetime]:
    query = (
        select(extract.c.received_at)
        .where(extract.c.source == source, extract.c.status == "committed", extract.c.is_history == 0)
        .order_by(extract.c.received_at)
    )
    return list(records.execute(query).scalars())


def _hours(span: timedelta) -> float:
    return round(span / HOUR, 1)
