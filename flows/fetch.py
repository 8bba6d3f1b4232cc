"""What it takes to fetch a feed from its server: where that is, what to ask for, and where its files come together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.house import House, clock
from integrations import contract
from integrations.contract import Contract
from integrations.errors import WrongUsage

if TYPE_CHECKING:
    from integrations.dicomweb.wanted import WantedStudies
    from integrations.fhir.export.state import Desk
    from integrations.fhir.export.wanted import Wanted
    from integrations.web.ask import Server
    from integrations.web.endpoint import Endpoint

ADDRESSES = {
    "fhir": "base_url: https://HOST/fhir, client_id: ...",
    "dicomweb": "base_url: https://HOST/dicom-web, user: ..., password: ...",
}


def contract_of(source: str) -> Contract:
    """The contract of a feed of this house."""
    return contract.load_contract(source, contract.SOURCES)


def is_fetched(house: House, source: str) -> bool:
    """Whether an ingest without a path fetches: the feed has a server, and nothing that landed waits to be taken in."""
    from integrations.ingest import ledger

    if not contract_of(source).is_fetched:
        return False
    with house.records.read() as connection:
        return ledger.open_extract(connection, source) is None


def endpoint_of(house: House, source: str) -> "Endpoint":
    """Where settings say that a feed's server is. Raises WrongUsage when they do not."""
    if source not in house.settings.endpoints:
        raise WrongUsage(
            f"nobody has said where the server of {source} is",
            where=str(house.settings.home / "settings.yaml"),
            to_do=f"set endpoints: {{{source}: {{{ADDRESSES.get(contract_of(source).kind, ADDRESSES['fhir'])}}}}}",
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


def wanted(house: House, feed: Contract, is_whole: bool) -> "Wanted":
    """What to ask for: from the watermark on, less the overlap of the contract; everything before the first export."""
    from integrations.fhir.export.wanted import Wanted
    from integrations.ingest import ledger
    from integrations.web.endpoint import safe_address

    if feed.export is None:
        raise WrongUsage(f"{feed.source} is not fetched from a server", to_do="give the extract with --from")
    endpoint = endpoint_of(house, feed.source)
    everything = Wanted(export=feed.export, group_id=endpoint.group_id)
    asked = everything.digest(safe_address(endpoint.base_url, has_secret=False))
    with house.records.read() as connection:
        moment = None if is_whole else ledger.watermark_of(connection, feed.source, asked)
    return replace(everything, since=moment - feed.export.overlap if moment else None)


def wanted_studies(house: House, feed: Contract, is_whole: bool) -> "WantedStudies":
    """Which studies to ask a PACS for: dated from the watermark on, less the overlap of the contract."""
    from integrations.dicomweb.wanted import WantedStudies
    from integrations.ingest import ledger
    from integrations.web.endpoint import safe_address

    everything = WantedStudies.of(feed)
    asked = everything.digest(safe_address(endpoint_of(house, feed.source).base_url, has_secret=False))
    with house.records.read() as connection:
        moment = None if is_whole else ledger.watermark_of(connection, feed.source, asked)
    return replace(everything, since=everything.dated_from(moment, feed))
