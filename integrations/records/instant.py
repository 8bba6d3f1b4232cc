"""How a moment rests in the records."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, TypeDecorator


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, aware on the way in and on the way out, in every database. Raises ValueError on a naive one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect | None) -> datetime | None:
        """Turn any aware moment into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs its time zone")
        return value if value.tzinfo is UTC else value.astimezone(UTC)

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """Write the text that SQLite keeps in one step: scores come by the hundred thousand."""
        if dialect.name != "sqlite":
            return super().bind_processor(dialect)
        return self._as_text

    def _as_text(self, value: datetime | None) -> str | None:
        moment = self.process_bind_param(value, None)
        return None if moment is None else moment.isoformat(" ", "microseconds")[:26]  # without its +00:00

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """SQLite gives the moment without its zone, Postgres in the zone of the session."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
