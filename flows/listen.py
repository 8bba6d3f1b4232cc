"""Listen to an interface engine or a laboratory over MLLP; `rounds ingest` takes in what was heard."""

import asyncio
import logging
import signal
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from flows.fetch import contract_of
from flows.house import House, clock
from integrations.errors import EnvironmentFault, WrongUsage
from integrations.hl7v2.inbox import inbox_of
from integrations.hl7v2.listener import Bounds, Listener
from integrations.hl7v2.reception import Reception
from integrations.ingest import ledger

if TYPE_CHECKING:
    from integrations.hl7v2.address import Address

log = logging.getLogger(__name__)
ANY_EXTRACT = "~"  # after the id of every extract
PATIENCE_SECONDS = 5  # an ingest may hold the inbox just now


def listen(house: House, source: str, bounds: Bounds | None = None) -> dict[str, int]:
    """Listen for one feed until SIGTERM or SIGINT, and return how many messages were answered with each code."""
    contract, address = contract_of(source), address_of(house, source)
    if contract.kind != "hl7v2":
        raise WrongUsage(f"{source} is no hl7v2 feed", to_do="listen to a feed of messages")

    def known(keys: Sequence[str]) -> list[tuple[str, str, str | None, bool]]:
        with house.records.read() as connection:
            return ledger.known_messages(connection, source, ANY_EXTRACT, keys)

    with inbox_of(source, house.settings.landing, patience=PATIENCE_SECONDS) as inbox:
        reception = Reception(contract, inbox, known)
        listener = Listener(reception, clock, bounds or Bounds(), address.allowed)
        asyncio.run(_serve(listener, source, address))
    return reception.counts


def address_of(house: House, source: str) -> "Address":
    """Where settings say that a feed is listened to. Raises WrongUsage when they do not."""
    if source not in house.settings.listeners:
        raise WrongUsage(
            f"nobody has said where to listen for {source}",
            where=str(house.settings.home / "settings.yaml"),
            to_do=f"set listeners: {{{source}: {{port: 2575}}}}",
        )
    return house.settings.listeners[source]


def is_listened_to(house: House, source: str) -> bool:
    """Whether an ingest without a path takes what was heard: nothing that landed waits to be taken in."""
    with house.records.read() as connection:
        return source in house.settings.listeners and ledger.open_extract(connection, source) is None


async def _serve(listener: Listener, source: str, address: "Address") -> None:
    def ready(port: int) -> None:
        log.info("listening for %s on port %d", source, port)

    serving = asyncio.create_task(
        listener.serve(
            address.host, address.port, tls=address.context(), seal_seconds=address.seal_seconds, ready=ready
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(serving.cancel))
    try:
        await serving
    except asyncio.CancelledError:
        log.info("stopped listening for %s", source)
    except OSError as error:
        raise EnvironmentFault(
            f"port {address.port} cannot be listened on",
            where=f"{address.host}: {error.strerror}",
            to_do="stop who holds it, or give another port",
        ) from None
