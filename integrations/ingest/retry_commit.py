"""The one transaction that makes a retry count: releases, reasons that have changed, snapshot, account and audit."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
from sqlalchemy import Connection

from integrations.contract import Contract
from integrations.ingest import ledger, quarantined
from integrations.ingest.commit import releases_of
from integrations.ingest.outcomes import RANKS
from integrations.ingest.places import IngestPlaces, TableAccount
from integrations.ingest.releases import RETRY, SENT_AGAIN
from integrations.ingest.retried import Retried, all_retried
from integrations.ingest.set_aside import Origin, quarantine_rows, waiting_rows
from integrations.records import Records, audit

PLACE = ("table_name", "source_file", "source_line")
SAID = ("patient_id", "code", "fact_key", "issued_at", "effective_at", "reason", "detail")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """One retry: of which source, when, over what, and what was found, until it is committed."""

    contract: Contract
    released_at: datetime
    before: int | None
    versions: Mapping[str, int]
    rows: list[Any]  # of quarantine
    origins: dict[str, Origin] = field(default_factory=dict)
    accounts: dict[tuple[str, str], TableAccount] = field(default_factory=dict)


def commit_retry(
    connection: duckdb.DuckDBPyConnection, this: Retry, places: IngestPlaces, records: Records
) -> int | None:
    """Write all of it or nothing; return the snapshot, if the lake has changed."""
    found = [each for each in all_retried(connection) if RANKS[each.outcome] != "quarantined"]
    versions = places.lake.versions()
    is_changed = versions != {**dict.fromkeys(versions, 0), **this.versions}
    with records.begin() as db:
        snapshot_id = ledger.note_snapshot(db, versions, this.before, this.released_at) if is_changed else None
        quarantined.note_released(db, [release for each in found for release in _releases(each)])
        quarantined.note_released(db, releases_of(db, connection, this.origins))
        for (table, extract_id), account in this.accounts.items():
            ledger.add_taken_up(db, extract_id, table, account.mapped, account.rows_written)
        for origin in this.origins.values():
            _restate(db, connection, origin, this)
            for rows in waiting_rows(connection, origin, this.released_at):
                ledger.note_waiting(db, rows)
        if found:
            _note_in_audit(db, this, found, snapshot_id)
    return snapshot_id


def _releases(each: Retried) -> list[tuple[int, datetime, str]]:
    by = SENT_AGAIN if RANKS[each.outcome] == "unchanged" else RETRY
    return [(quarantine_id, each.known_at, by) for quarantine_id in each.quarantine_ids]


def _restate(db: Connection, connection: duckdb.DuckDBPyConnection, origin: Origin, this: Retry) -> None:
    """Where something else speaks against a record now, say so, from when it was set aside on."""
    before: dict[tuple[Any, ...], list[Any]] = {}
    for row in this.rows:
        if row.extract_id == origin.extract_id and row.released_at is None:
            before.setdefault(tuple(getattr(row, name) for name in PLACE), []).append(row)
    now: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for batch in quarantine_rows(connection, origin, this.released_at):
        for values in batch:
            now.setdefault(tuple(values[name] for name in PLACE), []).append(values)
    for place, rows in now.items():
        old = before[place]
        if {tuple(row[name] for name in SAID) for row in rows} == {
            tuple(getattr(row, name) for name in SAID) for row in old
        }:
            continue
        since = min(row.quarantined_at for row in old)
        quarantined.restate(
            db, [row.quarantine_id for row in old], [{**values, "quarantined_at": since} for values in rows]
        )


def _note_in_audit(db: Connection, this: Retry, found: list[Retried], snapshot_id: int | None) -> None:
    released = dict(sorted(Counter(each.reason for each in found).items()))
    body = {"source": this.contract.source, "released": released, "snapshot_id": snapshot_id}
    audit.append(db, kind="quarantine_retried", body=body, at=this.released_at)
