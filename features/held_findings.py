"""What a blocking finding of the watch holds: results that arrived wrong, and codes of which results are missing.

Wrong ones (another scale or unit) are known one by one: each holds its patient as a quarantined row would, from when
its extract was received. Of missing ones (a code gone, renamed, or words of nothing) nobody knows whose they were: they
hold the view for every patient of the site, from when the finding was opened. Both until a person releases it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

if TYPE_CHECKING:
    from sqlalchemy import Connection

INSTANT = pa.timestamp("us", "UTC")
MISSING_OF_SITE = pa.schema(
    [
        ("site_id", pa.string()),
        ("code", pa.string()),
        ("reason", pa.string()),
        ("since_at", INSTANT),
        ("opened_at", INSTANT),
        ("released_at", INSTANT),
    ]
)
WRONG_EXTRACT = pa.schema(
    [
        ("extract_id", pa.string()),
        ("code", pa.string()),
        ("reason", pa.string()),
        ("received_at", INSTANT),
        ("released_at", INSTANT),
    ]
)
WRONG_RESULTS = """
select
    patient_id,
    observation.code,
    reason,
    least(effective_at, received_at) as collected_at,
    greatest(available_at, received_at) as known_from,
    released_at
from observation
join wrong_extract
    on wrong_extract.extract_id = observation.extract_id
    and wrong_extract.code = observation.code
where patient_id is not null
"""


def missing_of_site(records: "Connection", codes: Sequence[str], as_of: datetime) -> pa.Table:
    """The codes of which results are missing, by site, as known at as_of."""
    from integrations.watch.finding import MISSING

    rows = [
        {
            "site_id": row.site_id,
            "code": code,
            "reason": row.kind,
            "since_at": row.since_at,
            "opened_at": row.opened_at,
            "released_at": _by(row.released_at, as_of),
        }
        for row in _blocking(records, MISSING, as_of)
        for code in sorted(set(row.codes) & set(codes))
    ]
    return pa.Table.from_pylist(rows, schema=MISSING_OF_SITE)


def wrong_results(
    records: "Connection", connection: duckdb.DuckDBPyConnection, codes: Sequence[str], as_of: datetime
) -> pa.Table | None:
    """The results of these codes that a finding says arrived wrong, as rows of what is quarantined; None without any.

    `observation` is open in the DuckDB connection.
    """
    from sqlalchemy import select

    from integrations.records.schema import extract, finding_extract
    from integrations.watch.finding import WRONG

    rows = []
    for row in _blocking(records, WRONG, as_of):
        query = (
            select(extract.c.extract_id, extract.c.received_at)
            .join(finding_extract, finding_extract.c.extract_id == extract.c.extract_id)
            .where(finding_extract.c.finding_id == row.finding_id, extract.c.received_at <= as_of)
        )
        rows += [
            {**seen._mapping, "code": code, "reason": row.kind, "released_at": _by(row.released_at, as_of)}
            for seen in records.execute(query)
            for code in sorted(set(row.codes) & set(codes))
        ]
    if not rows:
        return None
    connection.register("wrong_extract", pa.Table.from_pylist(rows, schema=WRONG_EXTRACT))
    try:
        return connection.sql(WRONG_RESULTS).to_arrow_table()
    finally:
        connection.unregister("wrong_extract")


def _blocking(records: "Connection", kinds: Sequence[str], as_of: datetime) -> list[Any]:
    from sqlalchemy import select

    from integrations.records.schema import finding

    f = finding.c
    query = select(finding).where(f.severity == "blocking", f.kind.in_(kinds), f.opened_at <= as_of)
    return list(records.execute(query.order_by(f.finding_id)))


def _by(released_at: datetime | None, as_of: datetime) -> datetime | None:
    return released_at if released_at and released_at <= as_of else None
