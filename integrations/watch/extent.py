"""What one extract covers: whose it is, and the time since the one before it."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from integrations.contract import Contract

LONGEST = timedelta(days=7)  # of one extract's hours: who was silent for longer has its own finding, freshness


@dataclass(frozen=True, kw_only=True)
class Extent:
    """An extract and the time that it tells of: (since_at, received_at].

    since_at: when the extract before was received; of the first one, a day earlier.
    """

    contract: Contract
    extract_id: str
    received_at: datetime
    is_history: bool
    before_at: datetime | None = None

    @property
    def since_at(self) -> datetime:
        """From when on results are expected in this extract."""
        earliest = self.received_at - LONGEST
        return max(self.before_at or self.received_at - timedelta(days=1), earliest)

    @property
    def days(self) -> float:
        """How long that is."""
        return (self.received_at - self.since_at) / timedelta(days=1)

    @property
    def day(self) -> date:
        """The local day in which most of it lies: an extract just before or after midnight tells of the day before."""
        middle = self.since_at + (self.received_at - self.since_at) / 2
        return middle.astimezone(self.contract.zone).date()

    @property
    def is_watched(self) -> bool:
        """Whether its times are true ones: where dates are moved, no night can be compared with another."""
        return not self.contract.is_date_shifted
