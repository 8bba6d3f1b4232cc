"""Read the quarantined records of a source again from landing, after codes.csv or its contract was mended."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import duckdb

from integrations.codes import CodeMeaning, load_codes
from integrations.contract import load_contract
from integrations.full_disk import full_disk_is_a_fault
from integrations.ingest import ledger, quarantined
from integrations.ingest.doors import files_of, readable_root, stage
from integrations.ingest.judgement import Judgement
from integrations.ingest.known import count_as_known, open_lake
from integrations.ingest.load import Writing, load_table
from integrations.ingest.outcomes import RANKS, make_aside, quarantined_by_reason
from integrations.ingest.places import IngestPlaces, TableAccount
from integrations.ingest.releases import open_holds
from integrations.ingest.retried import all_retried, make_again, note_retried, open_retry, parts_of_retry
from integrations.ingest.retry_commit import Retry, commit_retry
from integrations.ingest.scratch import scratch, tables
from integrations.ingest.set_aside import Origin
from integrations.landing import Landed, read_landed
from integrations.records import Records
from integrations.tables import LOAD_ORDER


@dataclass(frozen=True, kw_only=True)
class RetryResult:
    """What became of the quarantined records of a source, in records; snapshot_id only where the lake has changed.

    released: by the reason for which they lay there. stays: by the reason of now. outcomes: of all that were read.
    """

    released: dict[str, int] = field(default_factory=dict)
    stays: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    snapshot_id: int | None = None


def retry(
    source: str,
    *,
    as_of: datetime,
    places: IngestPlaces,
    records: Records,
    dry_run: bool = False,
    memory_limit_mb: int = 400,
) -> RetryResult:
    """Judge what lies in quarantine by the present contract and codes; what passes is known from `as_of` on.

    Raises Refused when as_of is earlier than the source's newest extract, or an ingest is running, and
    EnvironmentFault when the disk is full.
    """
    contract, released_at = load_contract(source, places.sources), as_of.astimezone(UTC)
    with full_disk_is_a_fault(places.temp, places.lake.root), scratch(places, dry_run=dry_run) as own:
        with records.read() as db:
            ledger.refuse_earlier(db, source, released_at)
            before, versions = ledger.newest_snapshot(db)
            rows, holds = quarantined.rows_of(db, source), quarantined.open_quarantine(db)
            received = ledger.received_at(db, source)
        if all(row.released_at for row in rows):
            return RetryResult()
        if not dry_run:
            own.lake.create()
            own.lake.restore_to(versions)
        this = Retry(contract=contract, released_at=released_at, before=before, versions=versions, rows=rows)
        with tables(own, memory_limit_mb, is_on_disk=True) as connection:
            open_lake(connection, own.lake, versions)
            make_aside(connection)
            open_holds(connection, holds)
            open_retry(connection, rows)
            _read_again(connection, this, received, own, records, dry_run=dry_run)
            return _result(connection, this, None if dry_run else commit_retry(connection, this, own, records))


def _read_again(
    connection: duckdb.DuckDBPyConnection,
    this: Retry,
    received: Mapping[str, datetime],
    places: IngestPlaces,
    records: Records,
    *,
    dry_run: bool,
) -> None:
    """Load table after table and extract after extract, in the order in which they came."""
    codes = load_codes(places.sources / this.contract.source)
    for table in (name for name in LOAD_ORDER if name in this.contract.tables):
        for extract_id, count in parts_of_retry(connection, table):
            # files of the lake are named by the extract in whose account their rows stand
            name = f"{extract_id}-retry{this.released_at:%Y%m%dT%H%M%S%f}"
            writing = Writing(lake=places.lake, run_extract_id=name, dry_run=dry_run)
            landed = read_landed(places.landing / this.contract.source / extract_id)
            judgement = Judgement(
                contract=this.contract,
                table=table,
                received_at=received[extract_id],
                is_history=this.contract.is_date_shifted,
                bucket_count=places.lake.bucket_count,
                files=tuple(file.name for file in landed.files),
                released_at=this.released_at,
            )
            this.accounts[table, extract_id] = _load_again(
                connection, this, judgement, codes, landed, count, places, records, writing
            )


def _load_again(
    connection: duckdb.DuckDBPyConnection,
    this: Retry,
    judgement: Judgement,
    codes: tuple[CodeMeaning, ...],
    landed: Landed,
    count: int,
    places: IngestPlaces,
    records: Records,
    writing: Writing,
) -> TableAccount:
    """Read one table of one extract again; the account is of the records that lay in quarantine, and must balance."""
    contract, table, extract_id = this.contract, judgement.table, landed.extract_id
    names = make_again(connection, table, extract_id)
    root = readable_root(landed, contract, places.temp)
    this.origins[extract_id] = Origin.of(contract, extract_id, root)
    fed = {file.name for file in files_of(contract, table, landed.files)} | set(names)
    files = [file for file in landed.files if file.name in fed]
    with records.read() as db:
        staged = stage(
            connection,
            contract,
            table,
            files=files,
            extract_id=extract_id,
            root=root,
            sources=places.sources,
            records=db,
        )
    account = load_table(connection, staged, judgement, codes, extract_id, writing, count)
    note_retried(connection, judgement, extract_id)
    count_as_known(connection, table, "fresh")
    return account


def _result(connection: duckdb.DuckDBPyConnection, this: Retry, snapshot_id: int | None) -> RetryResult:
    found = all_retried(connection)
    stays: Counter[str] = Counter()
    for extract_id in this.origins:
        stays.update(quarantined_by_reason(connection, extract_id))
    return RetryResult(
        released=dict(sorted(Counter(each.reason for each in found if each.outcome < 5).items())),
        stays=dict(sorted(stays.items())),
        outcomes=dict(sorted(Counter(RANKS[each.outcome] for each in found).items())),
        snapshot_id=snapshot_id,
    )
