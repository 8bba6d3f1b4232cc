"""The MLLP listener: many connections, one desk, bounded time and memory for each.

A connection sends a message and waits for its answer, so the messages of one connection are kept in the order in which
they were sent. Messages of several connections that arrive together share one fsync.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from integrations.hl7v2.answer import REJECTED, Answer, acknowledgement
from integrations.hl7v2.mllp import Frames, TooLong, framed
from integrations.hl7v2.reception import Received, Reception

log = logging.getLogger(__name__)
CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a sender may take of us. Bytes and seconds."""

    longest_message: int = 16 << 20
    most_held: int = 256 << 20  # of all messages that are not whole yet
    message_seconds: float = 30  # from the first byte of a message to its last, and for the handshake of TLS
    answer_seconds: float = 30  # until a sender has taken its answer
    idle_seconds: float = 24 * 3600
    most_connections: int = 1_000


class Listener:
    """Serves one feed until it is cancelled."""

    def __init__(
        self,
        reception: Reception,
        clock: Callable[[], datetime],
        bounds: Bounds,
        senders: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self.reception, self.clock, self.bounds, self.senders = reception, clock, bounds, senders
        self._waiting: asyncio.Queue[tuple[Received, asyncio.Future[bytes]]] = asyncio.Queue()
        self._desk = ThreadPoolExecutor(1, thread_name_prefix="reception")
        self._connections: set[asyncio.Task[None]] = set()
        self._frames: set[Frames] = set()

    async def serve(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        seal_seconds: float,
        ready: Callable[[int], None],
    ) -> None:
        """Listen; `ready` is told the port. What was heard is sealed every so many seconds, and at the end."""
        handshake_seconds = self.bounds.message_seconds if tls else None
        server = await asyncio.start_server(
            self._connected, host, port, ssl=tls, limit=CHUNK, ssl_handshake_timeout=handshake_seconds
        )
        work = [asyncio.create_task(self._receive()), asyncio.create_task(self._seal_every(seal_seconds))]
        try:
            async with server:
                ready(server.sockets[0].getsockname()[1])
                await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
                for task in work:
                    if task.done():
                        task.result()  # neither ends but by a fault
        finally:
            for task in (*work, *self._connections):
                task.cancel()
            await asyncio.gather(*work, *self._connections, return_exceptions=True)
            self._desk.shutdown()
            self.reception.seal()

    async def _receive(self) -> None:
        """Take all messages that wait at once, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            received = [each for each, _ in batch]
            answers = await loop.run_in_executor(self._desk, self.reception.take, received, self.clock())
            for (_, answered), answer in zip(batch, answers, strict=True):
                if not answered.done():
                    answered.set_result(answer)

    async def _seal_every(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(seconds)
            await loop.run_in_executor(self._desk, self.reception.seal)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= self.bounds.most_connections:
            log.warning("a connection was refused: %d are open", len(self._connections))
            writer.close()
            return
        self._connections.add(task)
        frames = Frames(self.bounds.longest_message)
        self._frames.add(frames)
        try:
            await self._talk(reader, writer, frames)
        except (TooLong, TimeoutError) as refused:
            reason = "the message is too long" if isinstance(refused, TooLong) else "the message did not end in time"
            log.warning("a connection was closed: %s", reason)
            with suppress(OSError, TimeoutError):
                nothing = acknowledgement(b"", Answer(code=REJECTED, reason=reason), self.clock())
                await self._answer(writer, nothing)
        except (OSError, asyncio.IncompleteReadError):
            log.info("a connection broke")  # whoever sent sends again what was not answered
        finally:
            self._frames.discard(frames)
            self._connections.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frames: Frames) -> None:
        loop = asyncio.get_running_loop()
        senders = self._senders_of(writer)
        begun: float | None = None
        while True:
            left = self.bounds.idle_seconds if begun is None else begun + self.bounds.message_seconds - loop.time()
            received = await asyncio.wait_for(reader.read(CHUNK), max(left, 0))
            if not received:
                return
            for message in frames.feed(received):
                begun = None
                answered: asyncio.Future[bytes] = loop.create_future()
                await self._waiting.put((Received(message=message, senders=senders), answered))
                await self._answer(writer, await answered)
            begun = None if frames.held == 0 else begun or loop.time()
            if begun and sum(each.held for each in self._frames) > self.bounds.most_held:
                raise TooLong

    async def _answer(self, writer: asyncio.StreamWriter, message: bytes) -> None:
        writer.write(framed(message))
        await asyncio.wait_for(writer.drain(), self.bounds.answer_seconds)

    def _senders_of(self, writer: asyncio.StreamWriter) -> frozenset[str] | None:
        """The senders that the certificate of a connection stands for; any, where no certificate is asked for."""
        if self.senders is None:
            return None
        certificate = writer.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
        names += [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
        return frozenset().union(*(self.senders.get(name, frozenset()) for name in names))
