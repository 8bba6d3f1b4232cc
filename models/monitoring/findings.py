"""Faults of the data that ingest has already found, counted per feature, so that no model is retrained on them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, or_, select

from integrations.records.schema import quarantine

# What a broken feed looks like in quarantine: a value outside its range, a unit or a code that nobody announced.
FAULT_REASONS = ("impossible_value", "suspect_batch", "unknown_unit", "unknown_code")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How many rows of one feature's codes were quarantined, and why."""

    feature: str
    reason: str
    row_count: int


def quarantine_findings(
    connection: Connection, codes: Mapping[str, Collection[str]], *, window_start: datetime, window_end: datetime
) -> list[Finding]:
    """Count what was quarantined on each feature's codes (LOINC), measured or arrived in the window."""
    counts = _counts(connection, window_start, window_end)
    return [
        Finding(feature=feature, reason=reason, row_count=row_count)
        for feature, its_codes in codes.items()
        for reason, row_count in sorted(_total(counts, its_codes).items())
    ]


def _counts(connection: Connection, start: datetime, end: datetime) -> dict[tuple[str, str], int]:
    at, seen = quarantine.c.effective_at, quarantine.c.quarantined_at
    rows = connection.execute(
        select(quarantine.c.code, quarantine.c.reason, func.count())
        .where(
            quarantine.c.reason.in_(FAULT_REASONS),
            quarantine.c.code.is_not(None),
            or_(and_(at > start, at <= end), and_(seen > start, seen <= end)),
        )
        .group_by(quarantine.c.code, quarantine.c.reason)
    )
    return {(code, reason): count for code, reason, count in rows}


def _total(counts: Mapping[tuple[str, str], int], codes: Collection[str]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for (code, reason), count in counts.items():
        if code in codes:
            totals[reason] = totals.get(reason, 0) + count
    return totals
