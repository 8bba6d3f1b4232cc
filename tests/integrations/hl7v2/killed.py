"""A listener in a process of its own that is killed again and again, and senders who keep their own ledger."""

import asyncio
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

from flows.listen import PATIENCE_SECONDS
from integrations.contract import load_contract
from integrations.hl7v2.inbox import inbox_of
from integrations.hl7v2.listener import Bounds, Listener
from integrations.hl7v2.reception import Received, Reception
from integrations.ingest import ledger
from integrations.records import open_records
from tests.integrations.hl7v2.listening import Sender

SEAL_SECONDS = 0.2
SECONDS = 60
SENDERS = 8
PATIENTS_OF_A_SENDER = 5


class Hasty(Reception):
    """A build that acknowledges before it writes: what it has in hand is written with the next messages."""

    in_hand: Sequence[Received] = ()

    def take(self, received: Sequence[Received], at: datetime) -> list[bytes]:
        before, self.in_hand = self.in_hand, received
        if before:
            super().take(before, at)
        return [b"MSH|^~\\&|||||||ACK|1|P|2.5.1\rMSA|AA|" + each.message.split(b"|")[9] + b"\r" for each in received]


def live(home: Path, port: int, make: Callable[..., Reception]) -> None:
    """One life of the listener."""
    records = open_records(f"sqlite:///{home / 'records.db'}")

    def known(keys: Sequence[str]) -> list[tuple[str, str, str | None, bool]]:
        with records.read() as db:
            return ledger.known_messages(db, "lab", "~", keys)

    contract = load_contract("lab", home / "sources")
    with inbox_of("lab", home / "landing", patience=PATIENCE_SECONDS) as inbox:
        listener = Listener(make(contract, inbox, known), lambda: datetime.now(UTC), Bounds())
        asyncio.run(listener.serve("127.0.0.1", port, seal_seconds=SEAL_SECONDS, ready=lambda _: None))


@dataclass
class Lives:
    """The listener, life after life."""

    home: Path
    port: int
    make: Callable[..., Reception] = Reception
    kills: int = 0
    process: BaseProcess | None = None

    def begin(self) -> None:
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.integrations.hl7v2.killed"])
        self.process = context.Process(target=live, args=(self.home, self.port, self.make))
        self.process.start()

    def kill(self) -> None:
        if self.process and self.process.pid:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.join()
            self.kills += 1


@dataclass
class Ledger:
    """What one sender was told: per patient the values acknowledged, in order; and how often it sent again."""

    acknowledged: dict[str, list[int]] = field(default_factory=dict)
    sent_again: int = 0
    refused: list[str] = field(default_factory=list)


def message(patient: str, value: int) -> bytes:
    """A result of the patient: the first is final, every later one corrects it."""
    status = "C" if value else "F"
    return "\r".join(
        [
            rf"MSH|^~\&|LIS|LAB|EHR|LAB|20240311040000||ORU^R01^ORU_R01|{patient}-{value}|P|2.5.1",
            f"PID|1||{patient}^^^LAB&1.2.3&ISO^MR",
            f"OBR|1|P1|{patient}|1^Panel^L|||202403100800|||||||||||||||20240310090000|||F",
            f"OBX|1|NM|2160-0^Creatinine^LN||{1 + value / 1000:.3f}|mg/dL|||||{status}|||202403100800",
        ]
    ).encode()


def admission(patient: str) -> bytes:
    """What makes a patient known."""
    return "\r".join(
        [
            rf"MSH|^~\&|ADT|LAB|EHR|LAB|20240310040000||ADT^A04|A-{patient}|P|2.5.1",
            f"PID|1||{patient}^^^LAB&1.2.3&ISO^MR||||19500101|F",
            f"PV1|1|O|||||||||||||||||{patient}-visit",
        ]
    ).encode()


def send_all(port: int, number: int, messages_each: int, ledger_of: Ledger, is_over: threading.Event) -> None:
    """Send the messages of one sender's patients; what was not answered is sent again until it is."""
    patients = [f"p{number}-{place}" for place in range(PATIENTS_OF_A_SENDER)]
    waiting = [(patient, admission(patient), -1) for patient in patients]
    waiting += [(patient, message(patient, value), value) for value in range(messages_each) for patient in patients]
    sender: Sender | None = None
    for patient, sent, value in waiting:
        while not is_over.is_set():
            try:
                sender = sender or Sender(port)
                _, code, control, *_ = sender.send(sent)
            except OSError:
                ledger_of.sent_again += 1
                if sender:
                    sender.socket.close()
                sender = None
                time.sleep(0.005)
                continue
            if code != "AA" or not control.startswith((patient, "A-")):
                ledger_of.refused.append(f"{code} {control}")
            if value >= 0:
                ledger_of.acknowledged.setdefault(patient, []).append(value)
            break
    if sender:
        sender.socket.close()


def free_port() -> int:
    """A port that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def play(
    home: Path,
    kills: int,
    messages_each: int,
    random: Random,
    make: Callable[..., Reception],
    between: Callable[[], None],
) -> tuple[list[Ledger], int]:
    """Let the senders send while the listener dies so often; `between` is called after every 50th death.

    It is called while the listener that lives next is heard to begin, or already takes messages.
    """
    lives = Lives(home, free_port(), make)
    ledgers = [Ledger() for _ in range(SENDERS)]
    is_over = threading.Event()
    lives.begin()
    threads = [
        threading.Thread(target=send_all, args=(lives.port, number, messages_each, ledgers[number], is_over))
        for number in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    total = SENDERS * PATIENTS_OF_A_SENDER * messages_each
    for place in sorted(random.sample(range(total // 100, total * 95 // 100), kills)):
        _wait(partial(_has_come_to, ledgers, place), threads)
        lives.kill()
        lives.begin()
        if lives.kills % 50 == 0:
            between()
    _wait(lambda: not any(thread.is_alive() for thread in threads), threads)
    is_over.set()
    lives.kill()
    return ledgers, lives.kills


def _has_come_to(ledgers: list[Ledger], count: int) -> bool:
    return sum(len(values) for each in ledgers for values in each.acknowledged.values()) >= count


def _wait(until: Callable[[], bool], threads: list[threading.Thread]) -> None:
    end = time.monotonic() + SECONDS
    while not until():
        if time.monotonic() > end:
            raise AssertionError("the senders do not get on")
        if not any(thread.is_alive() for thread in threads):
            return
        time.sleep(0.001)
