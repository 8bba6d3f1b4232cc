"""What the watch has to say by the clock, where no extract comes that could."""

from datetime import datetime

from flows.house import House
from integrations.watch.freshness import Overdue, overdue


def overdue_feeds(house: House, now: datetime) -> list[Overdue]:
    """The feeds whose next extract is overdue at `now`."""
    from integrations.contract import known_sources, load_contract

    contracts = [load_contract(source) for source in known_sources()]
    with house.records.read() as connection:
        return overdue(connection, contracts, now)
