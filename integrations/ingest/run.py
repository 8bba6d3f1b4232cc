"""Ingest one extract: land it, load every table of it, take up what waited, and make it visible in one transaction."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from integrations.codes import load_codes
from integrations.contract import Contract, load_contract
from integrations.errors import Refused
from integrations.full_disk import full_disk_is_a_fault
from integrations.ingest import ledger, quarantined
from integrations.ingest.commit import Ingested, commit
from integrations.ingest.doors import (
    LOOKED_UP,
    NO_TABLE,
    counts_left_out,
    files_of,
    files_out_of_scope,
    line_count,
    needed_part,
    readable_root,
    record_count,
    stage,
    stage_sound,
)
from integrations.ingest.judgement import Judgement
from integrations.ingest.known import open_lake
from integrations.ingest.load import Writing, load_table
from integrations.ingest.outcomes import keep_left_out, make_aside, quarantined_by_reason, set_aside_by_table
from integrations.ingest.places import IngestPlaces, IngestResult, SetAside, TableAccount
from integrations.ingest.releases import open_holds
from integrations.ingest.scratch import scratch, tables
from integrations.ingest.set_aside import Origin
from integrations.ingest.take_up import take_up
from integrations.ingest.undecided import undecided_codes
from integrations.landing import Arrival, Landed, LandedFile, arrival, drop_landed, settle
from integrations.records import Records
from integrations.tables import LOAD_ORDER
from integrations.watch import measure
from integrations.watch.extent import Extent
from integrations.watch.judge import judge
from integrations.watch.past import before_at

# Rows of so many lines are kept in memory, which is a tenth cheaper; those of more, or of files without lines, on disk.
MOST_LINES_IN_MEMORY, MOST_BYTES_IN_MEMORY = 300_000, 300 << 20
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Opening:
    """An extract that may be taken in: nothing speaks against it, and what readers see before it."""

    contract: Contract
    received_at: datetime
    is_history: bool
    before: int | None
    versions: dict[str, int]


def ingest(
    source: str,
    path: Path | None,
    *,
    as_of: datetime,
    is_history: bool,
    places: IngestPlaces,
    records: Records,
    dry_run: bool = False,
    once_more: bool = False,
    memory_limit_mb: int = 400,
    progress: Progress | None = None,
) -> IngestResult:
    """Take in one extract of a feed, received at `as_of`; without `path`, the one that landed and was not committed.

    once_more: a dry run judges it even where the same bytes were ingested before.
    Raises Refused when the extract is cut off, differs from its manifest, holds an unknown file, or is older than the
    source's newest; EnvironmentFault when the disk is full; then nothing has changed.
    """
    contract = load_contract(source, places.sources)
    received_at = as_of.astimezone(UTC)
    with ExitStack() as stack:
        stack.enter_context(full_disk_is_a_fault(places.temp, places.landing, places.lake.root))
        own = stack.enter_context(scratch(places, dry_run=dry_run))
        needed, litter = needed_part(contract, path, own.temp) if path else (_left(records, source, places), 0)
        landing = own.temp / "landing" if dry_run else own.landing
        new = stack.enter_context(arrival(source, needed, landing, contract.limits))
        files_out_of_scope(contract, new.files)
        with records.read() as db:
            known = ledger.committed_extract(db, source, new.digest)
            if known and not (dry_run and once_more):
                return IngestResult(extract_id=known, is_new=False, litter_count=litter)
            ledger.refuse_earlier(db, source, received_at)
            before, versions = ledger.newest_snapshot(db)
            waiting_count = ledger.waiting_count(db)
        opening = Opening(
            contract=contract,
            received_at=received_at,
            is_history=is_history or contract.is_past(received_at),
            before=before,
            versions=versions,
        )
        is_small = _is_small(new.files, waiting_count)
        with tables(own, memory_limit_mb, is_on_disk=not is_small) as connection:
            result = _take_in(connection, opening, new, own, records, progress or _silent, dry_run=dry_run)
            return replace(result, litter_count=litter)


def _is_small(files: tuple[LandedFile, ...], waiting_count: int) -> bool:
    """Whether the rows of an extract, and those it may take up, fit in memory; how many Parquet has, nobody knows.

    A packed file may come to a thousand times its size.
    """
    return (
        all(file.lines for file in files if file.bytes)
        and sum(file.lines for file in files) + waiting_count <= MOST_LINES_IN_MEMORY
        and sum(file.bytes * (1_000 if file.name.endswith(".gz") else 1) for file in files) <= MOST_BYTES_IN_MEMORY
    )


def _take_in(
    connection: duckdb.DuckDBPyConnection,
    opening: Opening,
    new: Arrival,
    places: IngestPlaces,
    records: Records,
    progress: Progress,
    *,
    dry_run: bool,
) -> IngestResult:
    landed = settle(new, opening.received_at)
    if not dry_run:
        with records.begin() as db:
            ledger.note_landed(db, landed, opening.contract, is_history=opening.is_history)
        places.lake.create()
        places.lake.restore_to(opening.versions)
    try:
        return _load_landed(connection, opening, landed, places, records, progress, dry_run=dry_run)
    except Refused:
        if not dry_run:
            with records.begin() as db:
                ledger.forget(db, landed)
        drop_landed(landed.folder)
        raise


def _load_landed(
    connection: duckdb.DuckDBPyConnection,
    opening: Opening,
    landed: Landed,
    places: IngestPlaces,
    records: Records,
    progress: Progress,
    *,
    dry_run: bool,
) -> IngestResult:
    origin = Origin.of(opening.contract, landed.extract_id, readable_root(landed, opening.contract, places.temp))
    extent = Extent(
        contract=opening.contract,
        extract_id=landed.extract_id,
        received_at=opening.received_at,
        is_history=opening.is_history,
    )
    ingested = Ingested(
        contract=opening.contract,
        landed=landed,
        is_history=opening.is_history,
        before=opening.before,
        origin=origin,
        extent=extent,
    )
    writing = Writing(lake=places.lake, run_extract_id=landed.extract_id, dry_run=dry_run)
    open_lake(connection, places.lake, opening.versions)
    make_aside(connection)
    measure.begin(connection)
    with records.read() as db:
        open_holds(connection, quarantined.open_quarantine(db))
        before = before_at(db, landed.source, landed.extract_id, opening.received_at)
    extent = replace(ingested.extent, before_at=before)
    ingested = replace(ingested, extent=extent)
    _load_tables(connection, opening, ingested, places, records, writing, progress)
    codes = load_codes(places.sources / landed.source)
    with records.read() as db:
        ingested.found.extend(judge(connection, db, extent, frozenset(code.loinc for code in codes if code.loinc)))
    snapshot_id = None if dry_run else commit(connection, ingested, places, records)
    return IngestResult(
        extract_id=landed.extract_id,
        is_new=True,
        accounts=ingested.accounts,
        quarantined=quarantined_by_reason(connection, landed.extract_id),
        snapshot_id=snapshot_id,
        set_aside=tuple(_set_aside(connection, ingested)) if dry_run else (),
        files_left_out=counts_left_out(opening.contract, landed.files),
        undecided=tuple(ingested.undecided),
        found=tuple(ingested.found),
    )


def _load_tables(
    connection: duckdb.DuckDBPyConnection,
    opening: Opening,
    ingested: Ingested,
    places: IngestPlaces,
    records: Records,
    writing: Writing,
    progress: Progress,
) -> None:
    """Load table after table, so that a row finds what it refers to; what waited goes before what came now."""
    contract, landed = opening.contract, ingested.landed
    codes = load_codes(places.sources / contract.source)
    for number, table in enumerate(LOAD_ORDER):
        progress(table, number, len(LOAD_ORDER))
        mapped, rows = _take_up(connection, opening, table, places, records, writing, ingested)
        account = TableAccount()
        files = files_of(contract, table, landed.files) if table in contract.tables else []
        if files:
            with records.read() as db:
                staged = stage(
                    connection,
                    contract,
                    table,
                    files=files,
                    extract_id=landed.extract_id,
                    root=ingested.origin.root,
                    sources=places.sources,
                    records=db,
                )
            sound = stage_sound(
                connection, contract, table, files=files, root=ingested.origin.root, sources=places.sources
            )
            judgement = Judgement(
                contract=contract,
                table=table,
                received_at=opening.received_at,
                is_history=opening.is_history,
                bucket_count=places.lake.bucket_count,
                files=tuple(file.name for file in landed.files),
                is_plan=writing.dry_run,
            )
            expected = line_count(contract.kind, files)
            account = load_table(connection, staged, judgement, codes, landed.extract_id, writing, expected, sound)
            keep_left_out(connection, table)
            measure.measure_table(connection, ingested.extent, table, account.unchanged)
            if table == "observation" and writing.dry_run:
                ingested.undecided.extend(undecided_codes(connection))
            if table == "patient_link":  # the link of one feed waits for that of another: it may have come just now
                again = _take_up(connection, opening, table, places, records, writing, ingested)
                mapped, rows = mapped + again[0], rows + again[1]
        if files or mapped or rows:
            ingested.accounts[table] = replace(account, taken_up=mapped, rows_written=account.rows_written + rows)
    measure.measure_senders(connection, ingested.extent)
    _count_left_out(contract, ingested)
    progress("done", len(LOAD_ORDER), len(LOAD_ORDER))


def _take_up(
    connection: duckdb.DuckDBPyConnection,
    opening: Opening,
    table: str,
    places: IngestPlaces,
    records: Records,
    writing: Writing,
    ingested: Ingested,
) -> tuple[int, int]:
    with records.read() as db:
        return take_up(connection, db, table, opening.received_at, places, writing, ingested.taken)


def _count_left_out(contract: Contract, ingested: Ingested) -> None:
    for glob, files in files_out_of_scope(contract, ingested.landed.files).items():
        ingested.files_left_out[glob] = sum(record_count(file) for file in files)
    if count := sum(ingested.files_left_out.values()):
        ingested.accounts[NO_TABLE] = TableAccount(received=count, out_of_scope=count)


def _set_aside(connection: duckdb.DuckDBPyConnection, ingested: Ingested) -> list[SetAside]:
    """What was not taken in and why, files that feed no table last."""
    why = ingested.contract.files_out_of_scope
    return set_aside_by_table(connection, ingested.landed.extract_id) + [
        SetAside(table=NO_TABLE, outcome="out_of_scope", reason=why.get(glob, LOOKED_UP), records=count)
        for glob, count in ingested.files_left_out.items()
    ]


def _left(records: Records, source: str, places: IngestPlaces) -> Path:
    """The folder of the extract that landed last and was not committed."""
    with records.read() as db:
        extract_id = ledger.open_extract(db, source)
    if extract_id is None:
        raise Refused(f"no extract of {source} waits to be taken in", to_do="give the extract with --from")
    return places.landing / source / extract_id


def _silent(_step: str, _done: int, _total: int) -> None:
    """Say nothing."""
