"""Fetch a feed from its server and take it in. What has been fetched stays on disk until it is committed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.house import House, clock
from flows.step import step, tell
from integrations.contract import Contract, load_contract
from integrations.errors import WrongUsage

if TYPE_CHECKING:
    from integrations.fhir.export.fetch import Fetched
    from integrations.fhir.export.state import Desk
    from integrations.fhir.export.wanted import Wanted
    from integrations.web.ask import Server
    from integrations.web.endpoint import Endpoint


def is_fetched(house: House, source: str) -> bool:
    """Whether an ingest without a path fetches: the feed has a server, and nothing that landed waits to be taken in."""
    from integrations.ingest import ledger

    if load_contract(source).export is None:
        return False
    with house.records.read() as connection:
        return ledger.open_extract(connection, source) is None


def endpoint_of(house: House, source: str) -> "Endpoint":
    """Where settings say that a feed's server is. Raises WrongUsage when they do not."""
    if source not in house.settings.endpoints:
        raise WrongUsage(
            f"nobody has said where the server of {source} is",
            where=str(house.settings.home / "settings.yaml"),
            to_do=f"set endpoints: {{{source}: {{base_url: https://HOST/fhir, client_id: ...}}}}",
        )
    return house.settings.endpoints[source]


def own_key(house: House, source: str) -> Path:
    """Where our private key for a feed's server lies, if settings name none."""
    return house.settings.secrets / f"{source}.jwk"


@contextmanager
def feed_server(house: House, source: str) -> Iterator["Server"]:
    """Open the server of a feed until the end of the block."""
    from integrations.web.open import open_server

    endpoint = endpoint_of(house, source)
    with open_server(endpoint, own_key=own_key(house, source), records=house.records, clock=clock) as server:
        yield server


@contextmanager
def feed_desk(house: House, source: str) -> Iterator["Desk"]:
    """Hold the folder in which a feed's export comes together until the end of the block."""
    from integrations.fhir.export.fetch import desk_of

    with desk_of(source, house.settings.exports) as desk:
        yield desk


@step
def fetch(house: House, source: str, desk: "Desk", is_whole: bool) -> "Fetched":
    """Export what has changed since the last committed export, or all of it."""
    from integrations.fhir.export.fetch import fetch as fetch_export

    asked = wanted(house, load_contract(source), is_whole)
    with feed_server(house, source) as server:
        fetched = fetch_export(asked, server, desk)
    until = f"{fetched.fetched_until:%Y-%m-%dT%H:%M:%SZ}"
    tell(f"{source}: {fetched.file_count:,} files with {fetched.byte_count:,} bytes fetched, up to {until}")
    if fetched.serious:
        tell(f"{source}: the server tells of {fetched.serious:,} errors, so the next export asks for the same again")
    return fetched


def wanted(house: House, contract: Contract, is_whole: bool) -> "Wanted":
    """What to ask for: from the watermark on, less the overlap of the contract; everything before the first export."""
    from integrations.fhir.export.wanted import Wanted
    from integrations.ingest import ledger

    if contract.export is None:
        raise WrongUsage(f"{contract.source} is not fetched from a server", to_do="give the extract with --from")
    with house.records.read() as connection:
        moment = None if is_whole else ledger.watermark_of(connection, contract.source)
    return Wanted(
        export=contract.export,
        group_id=endpoint_of(house, contract.source).group_id,
        since=moment - contract.export.overlap if moment else None,
    )
