"""What the records keep of the watch: figures of each extract, and findings until somebody releases them."""

from typing import Any

import duckdb
from sqlalchemy import Connection, insert, select

from integrations.records import insert_new
from integrations.records.schema import finding, finding_extract, watch_figure
from integrations.watch.extent import Extent
from integrations.watch.finding import Found, rank

COLUMNS = [column.name for column in watch_figure.c if column.name not in ("extract_id", "source")]


def note_figures(connection: duckdb.DuckDBPyConnection, records: Connection, extent: Extent) -> None:
    """Write the figures of an extract."""
    found = connection.execute(f"select {', '.join(COLUMNS)} from watch_figure where kind <> 'age' order by all")
    own = {"extract_id": extent.extract_id, "source": extent.contract.source}
    rows = [{**own, **dict(zip(COLUMNS, row, strict=True))} for row in found.fetchall()]
    for row in rows:
        row["hours"] = row["hours"] and [list(each.values()) for each in row["hours"]]
    insert_new(records, watch_figure, rows)


def note_findings(records: Connection, extent: Extent, found: list[Found]) -> None:
    """Write what was found. What is open already, as severe or more, is only seen once more in this extract."""
    is_open = select(finding).where(finding.c.source == extent.contract.source, finding.c.released_at.is_(None))
    standing: dict[tuple[str, str], Any] = {}
    for row in records.execute(is_open):
        before = standing.get((row.kind, row.subject))
        if before is None or rank(row.severity) > rank(before.severity):
            standing[row.kind, row.subject] = row
    for each in found:
        before = standing.get((each.kind, each.subject))
        if before is not None and rank(before.severity) >= rank(each.severity):
            finding_id = before.finding_id
        else:
            finding_id = _open(records, extent, each)
        records.execute(insert(finding_extract).values(finding_id=finding_id, extract_id=extent.extract_id))


def _open(records: Connection, extent: Extent, found: Found) -> int:
    values = {
        "source": extent.contract.source,
        "site_id": extent.contract.site_id,
        "extract_id": extent.extract_id,
        "opened_at": extent.received_at,
        "codes": list(found.codes),
        "evidence": dict(found.evidence),
    }
    own = {name: getattr(found, name) for name in ("kind", "subject", "severity", "since_at", "sentence", "to_do")}
    done = records.execute(insert(finding).values(**values, **own))
    [finding_id] = done.inserted_primary_key or (0,)
    return int(finding_id)


def findings(records: Connection, *, with_released: bool = False) -> list[Any]:
    """The findings of every source, the most severe first, then the newest."""
    query = select(finding)
    if not with_released:
        query = query.where(finding.c.released_at.is_(None))
    rows = records.execute(query.order_by(finding.c.opened_at.desc(), finding.c.finding_id))
    return sorted(rows, key=lambda row: -rank(row.severity))
