"""A listener on a real socket of this machine, and senders that speak MLLP to it."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from integrations.contract import Contract
from integrations.hl7v2.control import Known
from integrations.hl7v2.inbox import inbox_of, sealed_files
from integrations.hl7v2.listener import Bounds, Listener
from integrations.hl7v2.reception import Reception
from integrations.hl7v2.segments import messages
from tests.integrations.hl7v2.conftest import MSH, OBR, PID, obx

SECONDS = 30  # until a test gives up


def nobody(_keys: object) -> list[tuple[str, str, str | None, bool]]:
    """No message came before."""
    return []


@contextmanager
def listening(
    contract: Contract,
    landing: Path,
    *,
    bounds: Bounds | None = None,
    known: Known = nobody,
    tls: ssl.SSLContext | None = None,
    senders: dict[str, frozenset[str]] | None = None,
) -> Iterator[int]:
    """Listen in a thread of this process until the end of the block; yields the port."""
    ports: list[int] = []
    is_ready, serving = threading.Event(), list[asyncio.Task[None]]()
    loop = asyncio.new_event_loop()

    def ready(port: int) -> None:
        ports.append(port)
        is_ready.set()

    def run() -> None:
        with inbox_of(contract.source, landing) as inbox:
            listener = Listener(
                Reception(contract, inbox, known), lambda: datetime.now(UTC), bounds or Bounds(), senders
            )
            task = loop.create_task(listener.serve("127.0.0.1", 0, tls=tls, seal_seconds=3600, ready=ready))
            serving.append(task)
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))

    thread = threading.Thread(target=run)
    thread.start()
    if not is_ready.wait(SECONDS):
        raise AssertionError("the listener did not start")
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(serving[0].cancel)
        thread.join(SECONDS)
        loop.close()


class Sender:
    """One connection that sends a message and waits for its answer."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.socket = tls.wrap_socket(plain, server_hostname="127.0.0.1") if tls else plain

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, message: bytes) -> list[str]:
        """Send a message and return the fields of MSA."""
        self.socket.sendall(b"\x0b" + message + b"\x1c\r")
        return self.answer()

    def answer(self) -> list[str]:
        """Read one acknowledgement and return the fields of MSA; raises ConnectionError when none comes."""
        received = b""
        while not received.endswith(b"\x1c\r"):
            if not (chunk := self.socket.recv(4096)):
                raise ConnectionError("the listener closed the connection")
            received += chunk
        [msa] = [line for line in received.split(b"\r") if line.startswith(b"MSA")]
        return msa.decode().split("|")


def message(control_id: str = "7", *segments: str, sender: str = "LIS|LAB", kind: str = "ORU^R01^ORU_R01") -> bytes:
    """One message of a sender; a result unless segments are given."""
    head = MSH.replace("||P|", f"|{control_id}|P|").replace("|LIS|LAB|", f"|{sender}|").replace("ORU^R01^ORU_R01", kind)
    return "\r".join([head, *(segments or (PID, OBR, obx()))]).encode() + b"\r"


def kept(landing: Path) -> list[str]:
    """The control ids of the messages in the inbox, in order."""
    found = (segments for path in sealed_files("lab", landing) for _, segments in messages(path))
    return [segments[0].split(b"|")[9].decode() if segments[0].startswith(b"MSH") else "?" for segments in found]
