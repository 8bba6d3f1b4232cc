"""The one transaction that makes an ingest count: account, what was set aside, findings, snapshot, and the status."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb
from sqlalchemy import Connection

from integrations.contract import Contract
from integrations.hl7v2.control import new_messages
from integrations.ingest import ledger, quarantined
from integrations.ingest.doors import BESIDE, LOOKED_UP, NO_TABLE
from integrations.ingest.outcomes import left_out_counts
from integrations.ingest.places import IngestPlaces, TableAccount, UndecidedCode
from integrations.ingest.releases import SENT_AGAIN, SUPERSEDED, Version, superseded
from integrations.ingest.set_aside import Origin, keep_hashes, quarantine_rows, waiting_rows
from integrations.ingest.take_up import TakenUp
from integrations.landing import Landed, drop_landed
from integrations.records import Records
from integrations.watch.extent import Extent
from integrations.watch.finding import Found
from integrations.watch.kept import note_figures, note_findings


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What one ingest has found, until it is committed."""

    contract: Contract
    landed: Landed
    is_history: bool
    before: int | None
    origin: Origin
    extent: Extent
    accounts: dict[str, TableAccount] = field(default_factory=dict)
    files_left_out: dict[str, int] = field(default_factory=dict)
    taken: TakenUp = field(default_factory=TakenUp)
    undecided: list[UndecidedCode] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)


def commit(connection: duckdb.DuckDBPyConnection, ingested: Ingested, places: IngestPlaces, records: Records) -> int:
    """Write all of it or nothing, and return the snapshot that readers see from now on."""
    landed = ingested.landed
    keep_hashes(connection, ingested.origin, hashes_file(landed))
    versions = places.lake.versions()
    with records.begin() as db:
        snapshot_id = ledger.note_snapshot(db, versions, ingested.before, landed.received_at)
        ledger.note_committed(db, landed, snapshot_id, is_history=ingested.is_history)
        ledger.note_watermark(db, landed)
        ledger.note_accounts(db, landed.extract_id, ingested.accounts)
        _note_messages(db, connection, ingested)
        _note_out_of_scope(db, connection, ingested)
        _note_set_aside(db, connection, ingested)
        note_figures(connection, db, ingested.extent)
        note_findings(db, ingested.extent, ingested.found)
        superseded = ledger.drop_superseded(db, landed)
    for extract_id in superseded:
        drop_landed(landed.folder.parent / extract_id)
    return snapshot_id


def _note_messages(db: Connection, connection: duckdb.DuckDBPyConnection, ingested: Ingested) -> None:
    if ingested.contract.kind == "hl7v2":
        since = ingested.landed.received_at - ingested.contract.messages.control_ids_unique_for
        rows = new_messages(connection, ingested.landed.extract_id, since.date() if ingested.is_history else None)
        ledger.note_messages(db, ingested.landed, rows, since)


def hashes_file(landed: Landed) -> Path:
    """Where the hashes of an extract's records out of scope lie: beside its folder, which never changes."""
    return landed.folder.with_name(f"{landed.extract_id}.out_of_scope.parquet")


def _note_out_of_scope(db: Connection, connection: duckdb.DuckDBPyConnection, ingested: Ingested) -> None:
    reasons = {**BESIDE, **ingested.contract.files_out_of_scope}
    counts = left_out_counts(connection)
    for glob, count in ingested.files_left_out.items():
        counts.append((NO_TABLE, glob, reasons.get(glob, LOOKED_UP), count))
    ledger.note_out_of_scope(db, ingested.landed.extract_id, counts)


def _note_set_aside(db: Connection, connection: duckdb.DuckDBPyConnection, ingested: Ingested) -> None:
    landed, taken = ingested.landed, ingested.taken
    for origin in (*taken.origins.values(), ingested.origin):
        for rows in quarantine_rows(connection, origin, landed.received_at):
            quarantined.note_quarantined(db, rows)
        for rows in waiting_rows(connection, origin, landed.received_at):
            ledger.note_waiting(db, rows)
    quarantined.note_released(db, releases_of(db, connection, {**taken.origins, landed.extract_id: ingested.origin}))
    ledger.note_taken_up(db, taken.closed, landed.extract_id, landed.received_at)
    for waiting_id, table, waits_for in taken.moved:
        ledger.note_waits_on(db, waiting_id, table, waits_for)


def releases_of(
    db: Connection, connection: duckdb.DuckDBPyConnection, origins: Mapping[str, Origin]
) -> list[tuple[int, datetime, str]]:
    """The rows of quarantine that this ingest releases; sent_again where the same bytes are mapped now."""
    found = superseded(connection)
    hashes = quarantined.record_hashes(db, sorted({each.quarantine_id for each in found}))
    read: dict[Version, str] = {}
    for extract_id, origin in origins.items():
        places = {each.by for each in found if each.by.extract_id == extract_id}
        read_now = origin.hashes((by.file, by.line) for by in places)
        read |= {by: read_now[by.file, by.line] for by in places}
    released: dict[int, tuple[datetime, str]] = {}
    for each in found:
        is_same = each.is_mapped and read[each.by] == hashes[each.quarantine_id]
        _, before = released.get(each.quarantine_id, (each.at, SUPERSEDED))
        released[each.quarantine_id] = (each.at, SENT_AGAIN if is_same else before)
    return [(quarantine_id, at, by) for quarantine_id, (at, by) in released.items()]
