"""Faults of the data that ingest has already found, counted per feature, so that no model is retrained on them.

A finding explains a breach of the same feature only when it is large enough to do so: one odd result among a thousand
must not hide that patients have changed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
from sqlalchemy import Connection, and_, func, or_, select

from integrations.records.schema import finding, quarantine

# What a broken feed looks like in quarantine: a value outside its range, a unit or a code that nobody announced.
# One result in twenty of a feature's codes. Fewer cannot explain a breach: 5 % of rows moved from one tenth of a spread
# into the next is a PSI of 0.05 ln 2 + 0.05 ln 1.5 = 0.05, where 0.2 is the limit.
MIN_FAULT_SHARE = 0.05
FAULT_REASONS = ("impossible_value", "suspect_batch", "unknown_unit", "unknown_code")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How many rows of one feature's codes were quarantined, why, and what share of all rows of these codes that is.

    is_of_watch: a blocking finding of the watch speaks of all of them; its row_count is of the extract that showed it.
    """

    feature: str
    reason: str
    row_count: int
    share: float
    is_of_watch: bool = False


def quarantine_findings(
    connection: Connection,
    codes: Mapping[str, Collection[str]],
    taken: Mapping[str, int],
    *,
    window_start: datetime,
    window_end: datetime,
) -> list[Finding]:
    """Count what was quarantined on each feature's codes (LOINC), measured or arrived in the window.

    `taken`: how many results of each code came through, see `taken_counts`.
    """
    counts = _counts(connection, window_start, window_end)
    findings = []
    for feature, its_codes in codes.items():
        by_reason = _total(counts, its_codes)
        rows = sum(by_reason.values()) + sum(taken.get(code, 0) for code in its_codes)
        findings += [
            Finding(feature=feature, reason=reason, row_count=row_count, share=row_count / rows)
            for reason, row_count in sorted(by_reason.items())
        ]
    return findings


def watch_findings(
    connection: Connection, codes: Mapping[str, Collection[str]], *, window_start: datetime, window_end: datetime
) -> list[Finding]:
    """The blocking findings of the watch on each feature's codes (LOINC) that stood at some time of the window."""
    f = finding.c
    query = select(f.kind, f.codes, f.evidence).where(
        f.severity == "blocking",
        f.opened_at <= window_end,
        or_(f.released_at.is_(None), f.released_at > window_start),
    )
    standing = connection.execute(query.order_by(f.finding_id)).all()
    return [
        Finding(
            feature=feature,
            reason=row.kind,
            row_count=int(row.evidence.get("values", row.evidence.get("expected_patients", 0))),
            share=1.0,
            is_of_watch=True,
        )
        for feature, its_codes in codes.items()
        for row in standing
        if set(row.codes) & set(its_codes)
    ]


def explains(findings: Sequence[Finding], feature: str) -> bool:
    """Whether what was quarantined, or found by the watch, on a feature's codes is enough to move its spread."""
    return sum(each.share for each in findings if each.feature == feature) >= MIN_FAULT_SHARE


def taken_counts(
    lake: duckdb.DuckDBPyConnection, codes: Collection[str], *, window_start: datetime, window_end: datetime
) -> dict[str, int]:
    """Count the results of each code that were collected in the window and came through into the canonical tables."""
    rows = lake.execute(
        """
        select code, count(distinct observation_id)
        from observation
        where code in (select unnest($codes))
        and effective_at > $window_start
        and effective_at <= $window_end
        and available_at <= $window_end
        group by code
        """,
        {"codes": sorted(codes), "window_start": window_start, "window_end": window_end},
    )
    return dict(rows.fetchall())


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
