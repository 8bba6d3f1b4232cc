"""An export that is cut a hundred ways ends in the same bytes, and so in the same tables, as one that is not."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete

from integrations.errors import RoundsError
from integrations.fhir.export import download
from integrations.records.schema import watermark
from integrations.synthetic_hospital.ehr_faults import Fault, Kind
from integrations.synthetic_hospital.ehr_server import EhrServer
from integrations.synthetic_hospital.write import HospitalFiles
from tests.integrations.fhir.export.conftest import FEED, House, copied, ehr_of
from tests.integrations.fhir.export.cuts import WAYS, Tally, bad_day, contents, fetched, on, options, served

pytestmark = pytest.mark.xdist_group("cut exports")

DAYS, KILLS = 100, 50
ANEW_EVERY = 1 if "ROUNDS_SOAK" in os.environ else 25  # of the days, one whose export a new house takes in


@dataclass(frozen=True)
class Whole:
    """What an export comes to when nothing goes wrong: a hash over its bytes, and one over the tables made of them."""

    contents: str
    tables: str


NewHouse = Callable[[], AbstractContextManager[House]]


@pytest.fixture(scope="module")
def honest(hospital: HospitalFiles, house_template: Path) -> Iterator[EhrServer]:
    """The hospital on a good day, one night after its history."""
    with ehr_of(hospital, house_template, nights=1) as ehr:
        yield ehr


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, house_template: Path) -> Iterator[House]:
    """One house for all bad days, which knows what they should come to."""
    house = copied(house_template, tmp_path_factory.mktemp("cut") / "home")
    yield house
    house.records.close()


@pytest.fixture(scope="module")
def new_house(tmp_path_factory: pytest.TempPathFactory, house_template: Path) -> NewHouse:
    """Opens a house that has seen nothing yet, and tears it down again."""

    @contextmanager
    def opened() -> Iterator[House]:
        house = copied(house_template, tmp_path_factory.mktemp("anew") / "home")
        yield house
        house.records.close()
        shutil.rmtree(house.home)

    return opened


@pytest.fixture(scope="module")
def uncut(house: House, honest: EhrServer, new_house: NewHouse) -> dict[str, Whole]:
    """What an export comes to on a good day, each way; the house has taken each in."""
    found = {}
    for way in WAYS:
        ask_for_everything(house)
        with served(honest, way, lambda _kind, _number: None) as ehr:
            folder = house.fetch(ehr, **options(way)).folder
            found[way] = Whole(contents(folder), tables_of(new_house, folder, ehr))
            house.ingest(folder, as_of=ehr.now)
            shutil.rmtree(house.home / "exports" / FEED)
    ask_for_everything(house)
    return found


def tables_of(new_house: NewHouse, folder: Path, ehr: EhrServer) -> str:
    """The tables that a house makes of an export when it has seen nothing before."""
    with new_house() as house:
        assert house.ingest(folder, as_of=ehr.now).is_new
        return house.tables()


def days_of(house: House, new_house: NewHouse, honest: EhrServer, uncut: dict[str, Whole], seeds: range) -> Tally:
    """Play bad days; one passes when its bytes are those of a good day, so that the house knows them already.

    Of some the tables are made anew, and must be those of a good day too.
    """
    tally = Tally()
    for seed in seeds:
        way, day = bad_day(seed)
        with served(honest, way, on(day, tally)) as ehr:
            folder = fetched(house, ehr, way)
            tally.tried += 1
            tally.resumed += sum("Range: bytes=" in headers for _, headers in ehr.headers)
            is_same = folder is not None and contents(folder) == uncut[way].contents
            is_same = is_same and not house.ingest(folder, as_of=ehr.now).is_new
            if is_same and seed % ANEW_EVERY == 0:
                tally.made_anew += 1
                is_same = tables_of(new_house, folder, ehr) == uncut[way].tables
            tally.passed += is_same
            tally.failed += [] if is_same else [seed]
        shutil.rmtree(house.home / "exports" / FEED)
    return tally


def ask_for_everything(house: House) -> None:
    """Let every export of the suite begin at the beginning."""
    with house.records.begin() as db:
        db.execute(delete(watermark))


@pytest.fixture
def first(request: pytest.FixtureRequest) -> int:
    """The first of the seeds of this run; a soak goes on with new ones."""
    return int(request.config.getoption("--hypothesis-seed") or 0) * DAYS


def test_a_hundred_cut_exports_give_the_tables_of_the_uncut_one(
    house: House, new_house: NewHouse, honest: EhrServer, uncut: dict[str, Whole], first: int
) -> None:
    before = house.tables()
    tally = days_of(house, new_house, honest, uncut, range(first, first + DAYS))
    print(f"cut exports: {tally}")
    assert (tally.tried, tally.passed) == (DAYS, DAYS), str(tally)
    assert house.tables() == before
    assert sum(tally.reached.values()) > DAYS
    assert tally.made_anew == DAYS / ANEW_EVERY


def test_a_client_that_does_not_look_whether_a_file_is_whole_fails_the_suite(
    house: House, new_house: NewHouse, honest: EhrServer, uncut: dict[str, Whole], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_check_count", lambda *_: None)
    monkeypatch.setattr(download, "check_whole", lambda *_, is_packed: 0)
    short = [
        seed for seed in range(100) if any(met.fault.what == "short" and met.kind == "file" for met in bad_day(seed)[1])
    ]
    tally = Tally()
    for seed in short:
        found = days_of(house, new_house, honest, uncut, range(seed, seed + 1))
        tally.tried, tally.passed = tally.tried + found.tried, tally.passed + found.passed
    print(f"control: {tally.tried} tried, {tally.passed} passed")
    assert tally.tried > 5
    assert tally.passed < tally.tried


def test_a_killed_fetch_goes_on_where_it_was(
    house: House, honest: EhrServer, uncut: dict[str, Whole], first: int
) -> None:
    killed, resumed, same = 0, 0, 0
    for seed in range(first, first + KILLS):
        way, kind, number, at = deadly_day(seed)
        child: list[int] = []

        with served(honest, way, partial(kill_at, child, (kind, number), at)) as ehr:
            killed += fork_that_fetches(house, ehr, way, child) == -signal.SIGKILL
            resumed += partly_there(house)
            ehr.faults = lambda _kind, _number: None
            house.close_circuit()  # dead connections count as failures
            same += contents(house.fetch(ehr, **options(way)).folder) == uncut[way].contents
        shutil.rmtree(house.home / "exports" / FEED)
    print(f"kills: {KILLS} tried, {killed} killed, {resumed} with something on disk, {same} the same in the end")
    assert same == KILLS
    assert killed == KILLS
    assert resumed > KILLS / 3


def kill_at(child: list[int], place: tuple[Kind, int], at: int, kind: Kind, number: int) -> Fault | None:
    """Kill the process that asks, in the middle of the answer."""
    if (kind, number) != place:
        return None
    os.kill(child[0], signal.SIGKILL)
    return Fault(what="cut", at=at)


def deadly_day(seed: int) -> tuple[str, Kind, int, int]:
    """Which way is gone, and at which request the process dies."""
    draw = random.Random(1000 + seed)
    way = draw.choice(list(WAYS))
    kinds: list[Kind] = ["page"] if way == "search" else ["kick_off", "status", "file", "file", "file"]
    kind = draw.choice(kinds)
    number = draw.randrange({"file": 7, "page": 6, "status": 2}.get(kind, 1))
    return way, kind, number, draw.randrange(50_000)


def fork_that_fetches(house: House, ehr: EhrServer, way: str, child: list[int]) -> int:
    """Fetch in a process of its own, and say how it ended."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reader, 1)  # until the killer knows whom
        try:
            house.fetch(ehr, **options(way))
        except RoundsError:
            os._exit(1)
        finally:
            os._exit(0)
    child[:] = [pid]
    os.write(writer, b"x")
    _, status = os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    return os.waitstatus_to_exitcode(status)


def partly_there(house: House) -> bool:
    """Whether the dead process has left a state to go on from."""
    state = house.home / "exports" / FEED / "export.json"
    return state.exists() and bool(
        json.loads(state.read_bytes())["status_url"] or json.loads(state.read_bytes())["search"]
    )
