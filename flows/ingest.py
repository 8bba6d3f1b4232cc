"""Bring one extract in: door, landing, canonical tables; the rest is accounted for."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from prefect import flow

from flows.fetch import contract_of, feed_desk, feed_server, is_fetched, wanted, wanted_studies
from flows.house import House, at, clock, open_house, places
from flows.listen import is_listened_to
from flows.parameters import AsOf, SourceName, described
from flows.run_log import recorded_run
from flows.step import step, tell
from integrations.ingest import IngestResult, RetryResult
from integrations.ingest import ingest as ingest_extract
from integrations.ingest import retry as retry_quarantine
from integrations.ingest.heard import drop_taken_in, heard

if TYPE_CHECKING:
    from integrations.fhir.export.fetch import Fetched
    from integrations.fhir.export.state import Desk

FromPath = Annotated[
    str | None,
    described(
        "Folder or file of the extract on the worker. Empty: fetch it, take what was heard, or go on with a cut one."
    ),
]
IsWhole = Annotated[bool, described("Fetch everything again, not only what has changed since the last export.")]
IsHistory = Annotated[bool, described("Apply the history rules of the contract: facts from before go-live.")]


@flow(name="ingest")
def ingest(
    source: SourceName,
    path: FromPath = None,
    is_history: IsHistory = False,
    is_whole: IsWhole = False,
    as_of: AsOf = None,
) -> IngestResult:
    """Land one extract of a source, fetched from its server unless a path is given, and bring it into the tables."""
    house = open_house()
    with recorded_run(house, "ingest", as_of=at(as_of)):
        if path is None and is_fetched(house, source):
            result = fetch_and_map(house, source, is_history, is_whole, as_of)
        elif path is None and is_listened_to(house, source):
            result = map_heard(house, source, is_history, at(as_of))
        else:
            result = land_and_map(house, source, Path(path) if path else None, is_history, at(as_of))
        for table, account in result.accounts.items():
            tell(
                f"{result.extract_id}: {account.received:,} records of {table} in = {account.mapped:,} mapped "
                f"+ {account.unchanged:,} unchanged + {account.out_of_scope:,} out of scope "
                f"+ {account.waiting:,} waiting + {account.quarantined:,} quarantined; "
                f"{account.rows_written:,} rows out"
            )
        for each in result.found:
            tell(f"{result.extract_id}: the watch has a {each.severity} finding, {each.kind}: rounds watch")
        return result


def fetch_and_map(house: House, source: str, is_history: bool, is_whole: bool, as_of: datetime | None) -> IngestResult:
    """Fetch and take in; an export that turns out to be committed already is let go, and a new one made.

    It is received when it is here, so a clock that nobody has set is asked after the fetch.
    """
    with feed_desk(house, source) as desk:
        for _ in range(2):
            fetched = fetch(house, source, desk, is_whole)
            result = land_and_map(house, source, fetched.folder, is_history, at(as_of))
            desk.clear()
            if result.is_new:
                break
        return result


def map_heard(house: House, source: str, is_history: bool, moment: datetime) -> IngestResult:
    """Take in what was heard since the last time; without any, nothing is done."""
    landing = house.settings.landing
    if (folder := heard(source, landing, house.records)) is None:
        tell(f"{source}: nothing was heard since the last ingest")
        return IngestResult(extract_id="", is_new=False)
    result = land_and_map(house, source, folder, is_history, moment)
    drop_taken_in(source, landing, house.records)
    return result


@step
def fetch(house: House, source: str, desk: "Desk", is_whole: bool) -> "Fetched":
    """Export what has changed since the last committed export, or all of it; of a PACS, the studies of late."""
    contract = contract_of(source)
    with feed_server(house, source) as server:
        if contract.kind == "dicomweb":
            from integrations.dicomweb.fetch import fetch_studies

            studies = wanted_studies(house, contract, is_whole)
            fetched = fetch_studies(studies, server, desk, contract.limits, at=clock())
        else:
            from integrations.fhir.export.fetch import fetch as fetch_export

            fetched = fetch_export(wanted(house, contract, is_whole), server, desk, contract.limits)
    until = f"{fetched.fetched_until:%Y-%m-%dT%H:%M:%SZ}"
    tell(f"{source}: {fetched.file_count:,} files with {fetched.byte_count:,} bytes fetched, up to {until}")
    if fetched.serious:
        tell(f"{source}: the server tells of {fetched.serious:,} errors, so the next export asks for the same again")
    return fetched


@step
def land_and_map(house: House, source: str, path: Path | None, is_history: bool, moment: datetime) -> IngestResult:
    """Land the bytes, map what the contract names, set the rest aside with its reason, and commit if it balances."""
    return plan(house, source, path, is_history, moment, dry_run=False)


def plan(
    house: House, source: str, path: Path | None, is_history: bool, moment: datetime, *, dry_run: bool
) -> IngestResult:
    """The same figures with and without writing: `--dry-run` and the flow share this call."""
    return ingest_extract(
        source,
        path,
        as_of=moment,
        is_history=is_history,
        places=places(house),
        records=house.records,
        dry_run=dry_run,
        memory_limit_mb=house.settings.memory_limit_mb,
    )


def retry(house: House, source: str, moment: datetime) -> RetryResult:
    """Read the quarantined records of a source again; what passes by now is released."""
    with recorded_run(house, "retry", as_of=moment):
        return plan_retry(house, source, moment, dry_run=False)


def plan_retry(house: House, source: str, moment: datetime, *, dry_run: bool) -> RetryResult:
    """The same figures with and without writing."""
    return retry_quarantine(
        source,
        as_of=moment,
        places=places(house),
        records=house.records,
        dry_run=dry_run,
        memory_limit_mb=house.settings.memory_limit_mb,
    )
