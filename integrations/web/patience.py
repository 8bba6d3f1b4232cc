"""How long a server is waited for, and what its Retry-After says."""

from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime

import httpx

BUSY = (408, 423, 425, 429)  # and every 5xx
LONGEST_RETRY_AFTER = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often one request is tried, and how long one waits: between tries at first and at most, and for an export.

    A server that asks to be left alone (Retry-After) is, up to `longest_retry_after`; for longer the command ends.
    """

    tries: int = 8
    first_wait: timedelta = timedelta(seconds=1)
    longest_wait: timedelta = timedelta(minutes=2)
    longest_retry_after: timedelta = timedelta(minutes=15)
    whole_export: timedelta = timedelta(hours=24)


class NotNow(Exception):
    """It may pass later; the reason says what stands in the way, without a word of the server's own."""

    def __init__(self, reason: str, *, retry_after: timedelta = timedelta(0)) -> None:
        self.reason, self.retry_after = reason, retry_after
        super().__init__(reason)


def is_busy(status: int) -> bool:
    """Whether an answer means that the same request may pass later."""
    return status >= 500 or status in BUSY


def retry_after(headers: httpx.Headers) -> timedelta:
    """Read Retry-After, in seconds or as a date beside the server's own clock; zero when there is none to read."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(timedelta(seconds=int(text[:9])), LONGEST_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError, OverflowError):
        return timedelta(0)
    return min(max(wait, timedelta(0)), LONGEST_RETRY_AFTER)
