"""One circuit breaker per endpoint, its state in records: what one worker learns of a server that is down, all know.

Closed: requests pass. After MOST_FAILURES in a row it opens: nobody asks until `open_until`, twice as long each time.
Then one worker's request is let through as a trial; its success closes the circuit, its failure opens it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import httpx
from sqlalchemy import delete, select, update

from integrations.records import Records, insert_new
from integrations.records.schema import breaker
from integrations.web.origin import origin
from integrations.web.patience import NotNow

MOST_FAILURES = 5
FIRST_OPEN, LONGEST_OPEN = timedelta(seconds=15), timedelta(minutes=15)
TRIAL = timedelta(minutes=1)  # so long the others wait for the one that tries


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """The circuit to one endpoint, named by its origin; `clock` gives the time of day in UTC."""

    records: Records
    endpoint: str
    clock: Callable[[], datetime]

    @classmethod
    def of(cls, address: httpx.URL | str, records: Records, clock: Callable[[], datetime]) -> Self:
        """The circuit to the server of an address."""
        return cls(records=records, endpoint=origin(httpx.URL(address)), clock=clock)

    def check(self) -> None:
        """Let a request pass. Raises NotNow, with the time until the next trial, while the circuit is open."""
        now = self.clock()
        with self.records.read() as connection:
            opened = connection.execute(
                select(breaker.c.open_until).where(breaker.c.endpoint == self.endpoint)
            ).scalar()
        if opened is None or (opened <= now and self._takes_trial(opened, now)):
            return
        raise NotNow(
            "the circuit is open: the server failed too often", retry_after=max(opened - now, timedelta(seconds=1))
        )

    def failed(self) -> None:
        """Note that the server could not be reached, or answered with a fault of its own."""
        now = self.clock()
        with self.records.begin() as connection:
            insert_new(connection, breaker, [{"endpoint": self.endpoint, "failure_count": 0, "open_until": None}])
            mine = breaker.c.endpoint == self.endpoint
            connection.execute(update(breaker).where(mine).values(failure_count=breaker.c.failure_count + 1))
            count = connection.execute(select(breaker.c.failure_count).where(mine)).scalar()
            if count is not None and count >= MOST_FAILURES:  # null: another worker has just had an answer
                wait = min(FIRST_OPEN * 2 ** min(count - MOST_FAILURES, 10), LONGEST_OPEN)
                connection.execute(update(breaker).where(mine).values(open_until=now + wait))

    def succeeded(self) -> None:
        """Note an answer: the circuit is closed. Nothing is written where nothing stood against the server."""
        mine = breaker.c.endpoint == self.endpoint
        with self.records.read() as connection:
            if connection.execute(select(breaker.c.endpoint).where(mine)).scalar() is None:
                return
        with self.records.begin() as connection:
            connection.execute(delete(breaker).where(mine))

    def _takes_trial(self, opened: datetime, now: datetime) -> bool:
        """Whether this worker is the one that may try: the first who moves `open_until` on."""
        is_still = (breaker.c.endpoint == self.endpoint) & (breaker.c.open_until == opened)
        with self.records.begin() as connection:
            return connection.execute(update(breaker).where(is_still).values(open_until=now + TRIAL)).rowcount == 1
