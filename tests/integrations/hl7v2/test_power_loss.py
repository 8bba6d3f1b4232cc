"""Power is lost at any moment: every acknowledged message is there, by a disk that drops whatever was not synced."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from integrations.hl7v2.inbox import inbox_of, sealed_files
from integrations.hl7v2.reception import Received, Reception
from integrations.hl7v2.segments import messages
from tests.integrations.hl7v2.conftest import MSH, OBR, PID, contract, obx
from tests.integrations.hl7v2.listening import nobody
from tests.integrations.hl7v2.power import VolatileDisk

SOAK = int(os.environ.get("ROUNDS_SOAK", 0))  # the seed of its round
TRIALS = 1_000 if SOAK else 100
START = datetime(2024, 3, 1, 12, tzinfo=UTC)
Make = Callable[[Path], VolatileDisk]


class NoFsync(VolatileDisk):
    """A build that acknowledges before the bytes of a file last."""

    def sync(self, file: int) -> None:
        """Do nothing."""


class NoFolderSync(VolatileDisk):
    """A build that forgets that a file without a name is no file."""

    def sync_folder(self, path: Path) -> None:
        """Do nothing."""


class PowerLost(Exception):
    """The current is gone, in the middle of a write."""


def message(number: int) -> bytes:
    head = MSH.replace("||P|", f"|{number}|P|")
    return "\r".join([head, PID, OBR, obx()]).encode()


def lost(root: Path, seed: int, make: Make) -> tuple[int, int]:
    """Take messages until the power goes; return how many were acknowledged, and how many of those are gone."""
    random, disk = Random(seed), make(root)
    last_call = random.randint(1, 60)
    acknowledged: list[str] = []
    _count_down(disk, last_call)
    try:
        with inbox_of("lab", root, disk) as inbox:
            reception = Reception(contract(), inbox, nobody)
            for number in range(0, 400, 4):
                batch = [Received(message=message(number + place)) for place in range(random.randint(1, 4))]
                answers = reception.take(batch, START + timedelta(seconds=number))
                acknowledged += [text.split(b"|")[-1].strip().decode() for text in answers if b"MSA|AA|" in text]
                if random.random() < 0.2:
                    reception.seal()
    except PowerLost:
        pass
    disk.lose_power()
    there = {
        segments[0].split(b"|")[9].decode()
        for path in sealed_files("lab", root)
        for _, segments in messages(path)
        if segments[0].startswith(b"MSH")
    }
    return len(acknowledged), len(set(acknowledged) - there)


def _count_down(disk: VolatileDisk, calls: int) -> None:
    """Let the power go in the n-th call that changes the disk: a write may then be half done."""
    left = calls

    def spend() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise PowerLost

    for name in ("append", "sync", "sync_folder", "rename"):
        call = getattr(disk, name)

        def spent(*arguments: object, call: Callable[..., None] = call) -> None:
            spend()
            call(*arguments)

        setattr(disk, name, spent)


def played(tmp_path: Path, make: Make) -> tuple[int, int]:
    """All trials: acknowledged and lost messages."""
    told = gone = 0
    for seed in range(SOAK * TRIALS, SOAK * TRIALS + TRIALS):
        root = tmp_path / str(seed)
        root.mkdir()
        acknowledged, missing = lost(root, seed, make)
        told, gone = told + acknowledged, gone + missing
    print(f"{TRIALS} losses of power: {told:,} messages acknowledged, {gone:,} lost")
    return told, gone


def test_every_acknowledged_message_outlives_a_loss_of_power(tmp_path: Path) -> None:
    told, gone = played(tmp_path, VolatileDisk)
    assert told > 1_000
    assert gone == 0


@pytest.mark.parametrize("build", [NoFsync, NoFolderSync])
def test_a_build_that_acknowledges_before_fsync_loses_messages(tmp_path: Path, build: Make) -> None:
    _, gone = played(tmp_path, build)
    assert gone > 100
