"""Bad days by the number: which faults an export meets, and what has come of it in the end."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from integrations.errors import RoundsError
from integrations.synthetic_hospital.ehr_faults import Fault, Kind
from integrations.synthetic_hospital.ehr_server import EhrServer
from tests.integrations.fhir.export.conftest import House

FILES, PAGES, PAGE_SIZE = 7, 9, 120
RUNS = 6  # of the command, by a person or a schedule, until the export has come
WAYS = {
    "bulk": {"is_packed": False},
    "packed": {"is_packed": True},
    "without validators": {"has_validators": False},
    "search": {},
}


@dataclass(frozen=True)
class Met:
    """A fault that will strike at one request of a kind."""

    kind: Kind
    number: int
    fault: Fault


@dataclass
class Tally:
    """What a suite of bad days has come to."""

    tried: int = 0
    passed: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    planned: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)
    resumed: int = 0  # requests for the rest of a file
    made_anew: int = 0  # exports that a new house took in

    def __str__(self) -> str:
        never = self.planned.total() - self.reached.total()
        return (
            f"{self.tried} tried, {self.passed} passed, failed: {self.failed or 'none'}; "
            f"{self.resumed} files gone on with, {self.made_anew} exports taken in by a new house; "
            f"of {self.planned.total()} faults {never} never reached; "
            f"reached: {dict(sorted(self.reached.items()))}"
        )


def bad_day(seed: int) -> tuple[str, list[Met]]:
    """Which way is gone, and one to three faults on it."""
    draw = random.Random(f"bad day {seed}")  # numbers that follow each other would give days that are alike
    way = draw.choice(list(WAYS))
    return way, [_met(draw, way) for _ in range(draw.randint(1, 3))]


def _met(draw: random.Random, way: str) -> Met:
    kinds: list[Kind] = (
        ["metadata", "token", "page", "page"] if way == "search" else ["kick_off", "status", "token", "file", "file"]
    )
    kind = draw.choice(kinds)
    number = draw.randrange({"file": FILES, "page": PAGES}.get(kind, 2))
    at = draw.choice([0, 1, draw.randrange(2_000), draw.randrange(2_000), draw.randrange(200_000)])
    faults = [
        Fault(what="refuse", status=draw.choice([429, 500, 502, 503]), retry_after=draw.choice([None, 0])),
        Fault(what="cut", at=at),
    ]
    if kind == "file":
        faults += [Fault(what="short", at=at), Fault(what="expire_links"), Fault(what="restart")]
    if kind == "status":
        faults.append(Fault(what="restart"))
    if kind == "page":
        faults += [Fault(what="garbage"), Fault(what="repeat"), Fault(what="short", at=at)]
    if kind in ("file", "status", "page"):
        faults.append(Fault(what="expire_tokens"))
    return Met(kind, number, draw.choice(faults))


def on(day: list[Met], tally: Tally) -> Callable[[Kind, int], Fault | None]:
    """The faults of a day, each noted when it strikes."""
    planned = {(met.kind, met.number): met.fault for met in day}
    tally.planned.update(f"{met.kind} {met.fault.what}" for met in day)

    def fault(kind: Kind, number: int) -> Fault | None:
        found = planned.get((kind, number))
        if found:
            tally.reached[f"{kind} {found.what}"] += 1
        return found

    return fault


def options(way: str) -> dict[str, object]:
    """How to fetch."""
    return {"method": "search", "page_size": PAGE_SIZE} if way == "search" else {"method": "bulk"}


def fetched(house: House, ehr: EhrServer, way: str) -> Path | None:
    """Run the command until the export has come, as a schedule would; None when it does not come at all."""
    for _ in range(RUNS):
        try:
            return house.fetch(ehr, **options(way)).folder
        except RoundsError:
            house.close_circuit()
    return None


def contents(folder: Path) -> str:
    """A hash over the names and bytes of an export, and up to when it speaks."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    digest = hashlib.sha256(manifest["transactionTime"].encode())
    for path in sorted(folder.iterdir()):
        if path.name != "manifest.json":
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def served(honest: EhrServer, way: str, faults: Callable[[Kind, int], Fault | None]) -> Iterator[EhrServer]:
    """A server of the same hospital with a bad day before it."""
    with EhrServer(
        shelf=honest.shelf,
        now=honest.now,
        jwks=honest.jwks,
        polls=1,
        page_size=40,
        faults=faults,
        **WAYS[way],  # type: ignore[arg-type]
    ) as ehr:
        yield ehr
