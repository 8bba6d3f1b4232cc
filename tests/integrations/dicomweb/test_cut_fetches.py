"""A fetch that is cut, refused or killed ends in the same bytes, and so in the same tables, as one that is not."""

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from integrations.dicomweb import pacs as pacs_door
from integrations.errors import EnvironmentFault, Refused, RoundsError
from tests.integrations.dicomweb.conftest import FEED, PACS, ReadingRoom
from tests.integrations.dicomweb.front import Bad, Front, in_front
from tests.integrations.dicomweb.orthanc import Orthanc

pytestmark = [pytest.mark.part, pytest.mark.xdist_group("pacs")]

IS_SOAK = "ROUNDS_SOAK" in os.environ
DAYS, KILLS = (500, 200) if IS_SOAK else (12, 6)
PAGES, SERIES = 5, 8  # requests of a whole fetch, the last page an empty one
SMALL = PACS.replace("page_size: 7", "page_size: 2, first_date: 2010-01-01")
RUNS = 6  # of the command, until the fetch has come
Said = dict[str, tuple[int, bytes]]


@dataclass
class Whole:
    """A fetch on a good day: what the PACS said, and what lay on the desk in the end."""

    said: Said
    studies: bytes


@dataclass
class Tally:
    """What a suite of bad days has come to."""

    tried: int = 0
    same: int = 0
    gone_on: int = 0
    reached: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return f"{self.tried} tried, {self.same} the same, {self.gone_on} gone on with; reached {dict(self.reached)}"


@pytest.fixture
def whole(room: ReadingRoom, pacs: Orthanc) -> Whole:
    """A good day; of the PACS only the later years, which are a few studies."""
    room.write_contract(SMALL)
    with in_front(pacs.base_url) as front:
        found = room.fetch(front.base_url).folder
    assert (front.asked["studies"], front.asked["series"]) == (PAGES, SERIES)
    studies = (found / "studies.000.ndjson").read_bytes()
    room.ward.ingest(found, source=FEED)
    forget(room)
    return Whole(front.said, studies)


def forget(room: ReadingRoom) -> None:
    """Let the next fetch begin at the beginning."""
    shutil.rmtree(room.home / "exports" / FEED)
    room.close_circuit()


def bad_day(seed: int) -> dict[tuple[str, int], Bad]:
    """One to three faults: of the requests for studies and for series."""
    draw = Random(f"bad day {seed}")
    found = {}
    for _ in range(draw.randint(1, 3)):
        kind = draw.choice(["studies", "series"])
        number = draw.randrange(PAGES if kind == "studies" else SERIES)
        found[kind, number] = draw.choice(
            [
                Bad("refuse", status=draw.choice([429, 500, 503])),
                Bad("cut", at=draw.choice([0, 1, draw.randrange(3_000)])),
                Bad("say", status=200, body=draw.choice([b"<html>sign in</html>", b'[{"0020000D":', b"{}", b""])),
            ]
        )
    return found


def play(room: ReadingRoom, whole: Whole, seeds: range) -> Tally:
    """Play bad days: one is passed when what lies on the desk in the end is what a good day brings."""
    tally = Tally()
    for seed in seeds:
        day = bad_day(seed)
        with in_front(plan=lambda kind, number, day=day: day.get((kind, number)), said=whole.said) as front:  # type: ignore[misc]
            for _ in range(RUNS):
                try:
                    found = room.fetch(front.base_url).folder / "studies.000.ndjson"
                    tally.same += found.read_bytes() == whole.studies
                    break
                except RoundsError:
                    tally.gone_on += 1
                    room.close_circuit()
        tally.tried += 1
        tally.reached.update(front.reached)
        forget(room)
    return tally


def test_cut_fetches_give_the_bytes_of_the_uncut_one(
    room: ReadingRoom, whole: Whole, request: pytest.FixtureRequest
) -> None:
    first = int(request.config.getoption("--hypothesis-seed") or 0) * DAYS
    tally = play(room, whole, range(first, first + DAYS))
    print(f"cut fetches: {tally}")
    assert (tally.tried, tally.same) == (DAYS, DAYS)
    assert tally.reached.total() > DAYS
    assert len(tally.reached) == 6


def test_a_client_that_takes_what_it_cannot_read_for_the_end_fails_the_suite(
    room: ReadingRoom, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacs_door, "NotNow", lambda _reason: Refused("to be swallowed"))
    honest = pacs_door.Pacs._answered

    def careless(self: pacs_door.Pacs, url: object) -> object:
        try:
            return honest(self, url)  # type: ignore[arg-type]
        except Refused:
            return []

    monkeypatch.setattr(pacs_door.Pacs, "_answered", careless)
    garbled = [seed for seed in range(60) if any(bad.what == "say" for bad in bad_day(seed).values())][:5]
    tally = Tally()
    for seed in garbled:
        tally.same += play(room, whole, range(seed, seed + 1)).same
    print(f"control: {len(garbled)} tried, {tally.same} the same")
    assert tally.same < len(garbled)


def test_a_pacs_that_stays_away_is_said_and_the_next_command_goes_on(room: ReadingRoom, whole: Whole) -> None:
    away = Bad("refuse", status=503)
    with in_front(plan=lambda kind, n: away if kind == "studies" and n >= 2 else None, said=whole.said) as front:
        with pytest.raises(EnvironmentFault, match="is not there for us: it answers 503"):
            room.fetch(front.base_url)
        assert (room.home / "exports" / FEED / "files" / "studies.000.ndjson").read_bytes() in whole.studies
        before = front.asked["series"]
        front.plan = lambda _kind, _number: None
        room.close_circuit()
        assert (room.fetch(front.base_url).folder / "studies.000.ndjson").read_bytes() == whole.studies
        assert front.asked["series"] == before + SERIES - 4  # of four studies the series had come


def test_a_fetch_that_lay_for_days_is_begun_anew(room: ReadingRoom, whole: Whole) -> None:
    away = Bad("refuse", status=503)
    with in_front(plan=lambda kind, n: away if kind == "studies" and n >= 2 else None, said=whole.said) as front:
        with pytest.raises(EnvironmentFault):
            room.fetch(front.base_url)
        front.plan = lambda _kind, _number: None
        room.close_circuit()
        asked = len(front.paths)
        room.fetch(front.base_url, night=3)
        assert "offset=0" in front.paths[asked]


def test_a_killed_fetch_goes_on_where_it_was(room: ReadingRoom, whole: Whole) -> None:
    killed = same = begun = 0
    for seed in range(KILLS):
        draw = Random(f"kill {seed}")
        place = draw.choice([("studies", draw.randrange(PAGES)), ("series", draw.randrange(SERIES))])
        child: list[int] = []
        with in_front(plan=kill_at(child, place), said=whole.said) as front:
            killed += fork_that_fetches(room, front, child) == -signal.SIGKILL
            state = room.home / "exports" / FEED / "export.json"
            begun += state.exists() and b'"count":0' not in state.read_bytes() and b'"count"' in state.read_bytes()
            front.plan = lambda _kind, _number: None
            room.close_circuit()
            same += (room.fetch(front.base_url).folder / "studies.000.ndjson").read_bytes() == whole.studies
        forget(room)
    print(f"kills: {KILLS} tried, {killed} killed, {begun} with studies on disk, {same} the same in the end")
    assert (killed, same) == (KILLS, KILLS)
    assert begun > KILLS / 3


def kill_at(child: list[int], place: tuple[str, int]) -> Callable[[str, int], Bad | None]:
    """Kill the process that asks, in the middle of an answer."""

    def plan(kind: str, number: int) -> Bad | None:
        if (kind, number) != place:
            return None
        os.kill(child[0], signal.SIGKILL)
        return Bad("cut", at=10)

    return plan


def fork_that_fetches(room: ReadingRoom, front: Front, child: list[int]) -> int:
    """Fetch in a process of its own, and say how it ended."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reader, 1)  # until the killer knows whom
        try:
            room.fetch(front.base_url)
        finally:
            os._exit(0)
    child[:] = [pid]
    os.write(writer, b"x")
    _, status = os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    return os.waitstatus_to_exitcode(status)


def test_what_had_come_before_a_cut_is_in_the_tables_once(room: ReadingRoom, whole: Whole) -> None:
    room.know("ID1", "642341")
    before = room.studies()
    assert len(before) == 2
    away = Bad("refuse", status=503)
    with in_front(plan=lambda kind, n: away if kind == "studies" and n == 3 else None, said=whole.said) as front:
        room.patience = room.patience.__class__(tries=1)
        with pytest.raises(EnvironmentFault):
            room.take(front.base_url, 1, is_whole=True)
        assert Path(room.home / "exports" / FEED / "export.json").exists()
        result = room.take(front.base_url, 1, is_whole=True)
    assert result.accounts["imaging_study"].mapped == 0
    assert room.studies() == before
