"""A fact of the past as an ingest loads it: known from when the history rule says, and twice where it has an end."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

Fact = dict[str, object]
OF_OLD = datetime(1900, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# By table, how long after it was true a fact counts as known; a person and an identifier always do.
KNOWN_AFTER = {
    "encounter": timedelta(0),
    "encounter_location": timedelta(0),
    "condition": timedelta(days=9),
    "procedure": timedelta(days=9),
    "observation": timedelta(hours=2),
    "medication": timedelta(0),
    "imaging_study": timedelta(hours=2),
}
END = {
    "patient": "deceased_at",
    "encounter": "ended_at",
    "encounter_location": "ended_at",
    "medication": "ended_at",
}
WHILE_OPEN: dict[str, Fact] = {
    "patient": {"deceased_at": None, "is_deceased": False},
    "encounter": {"ended_at": None, "discharge_disposition": None},
    "encounter_location": {"ended_at": None},
    "medication": {"ended_at": None, "status": "active"},
}


def loaded_versions(table: str, told: Fact) -> Iterator[Fact]:
    """The versions in the lake of a row that tells how a fact was at its end."""
    true_at = told["effective_at"]
    known_at = true_at + KNOWN_AFTER[table] if isinstance(true_at, datetime) else OF_OLD
    if not isinstance(true_at, datetime) and told["is_retracted"]:
        known_at = told["available_at"]  # type: ignore[assignment]
    row = {**told, "is_available_at_inferred": True, "available_at": known_at}
    ended_at = row[END[table]] if table in END else None
    if isinstance(ended_at, datetime):
        closed_at = max(ended_at, known_at)
        yield {**row, **WHILE_OPEN[table], "available_at": min(known_at, closed_at - MICROSECOND)}
        yield {**row, "available_at": closed_at}
    else:
        yield {**row, **WHILE_OPEN.get(table, {})}
