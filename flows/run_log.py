"""Every flow run leaves one row in records: when, for what, and whether it balanced."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import uuid4

from sqlalchemy import insert, update

from flows.faults import hidden_messages
from flows.house import House, clock
from integrations.records import schema as s


@contextmanager
def recorded_run(house: House, kind: str, *, as_of: datetime, use_case: str | None = None) -> Iterator[str]:
    """Note the start of a run and how it ended; yields its run_id."""
    run_id = f"{kind}-{uuid4().hex[:12]}"
    with house.records.begin() as connection:
        connection.execute(
            insert(s.run).values(
                run_id=run_id, kind=kind, use_case=use_case, as_of=as_of, started_at=clock(), status="running"
            )
        )
    status = "failed"
    try:
        with hidden_messages():
            yield run_id
        status = "done"
    finally:
        with house.records.begin() as connection:
            connection.execute(update(s.run).where(s.run.c.run_id == run_id).values(finished_at=clock(), status=status))
