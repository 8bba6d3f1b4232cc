"""Several processes put rows online at once, on SQLite, Redis and Postgres: the newest row stands, whoever is last."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa
import pytest

import features.store
from features.definitions import View
from features.feast_places import FeastPlaces
from features.online import not_older
from features.store import FeatureStore
from integrations.only_one import Held
from tests.features.two_stays import night, spine_of

pytestmark = pytest.mark.xdist_group("online stores")
FORK = multiprocessing.get_context("fork")
LABS = ["recent_labs"]
SINCE = ["recent_labs:creatinine_since_last_hours"]  # another value each night
PAUSE_SECONDS = 1
TIME_OUT_SECONDS = 60


class UnlockedStore(FeatureStore):
    """The control: a store whose writers do not wait for each other."""

    @contextmanager
    def _online_alone(self) -> Iterator[Held]:
        yield lambda: None


@dataclass(frozen=True)
class Place:
    kind: type[FeatureStore]
    folder: Path
    places: FeastPlaces

    def open(self) -> FeatureStore:
        return self.kind(self.folder, places=self.places)


def put_an_old_row(place: Place, has_compared: Event, is_newer_done: Event) -> None:
    """Compare with what is online, then dawdle until the newer row is written, or a second is over."""

    def dawdling(store: object, view: View, rows: pa.Table) -> pa.Table:
        found = not_older(store, view, rows)
        has_compared.set()
        is_newer_done.wait(PAUSE_SECONDS)
        return found

    features.store.not_older = dawdling  # this process ends with the function
    place.open().materialize(night(2), LABS)


def put_the_newer_row(place: Place, has_compared: Event, is_newer_done: Event) -> None:
    assert has_compared.wait(TIME_OUT_SECONDS)
    place.open().materialize(night(4), LABS)
    is_newer_done.set()


def put_every_night(place: Place, seed: int) -> None:
    nights = list(range(2, 10))
    Random(seed).shuffle(nights)
    store = place.open()
    for day in nights:
        store.materialize(night(day), LABS)


def run_at_once(*calls: tuple[object, ...]) -> None:
    processes = [FORK.Process(target=target, args=arguments, daemon=True) for target, *arguments in calls]  # type: ignore[arg-type]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIME_OUT_SECONDS)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def online_since(store: FeatureStore, day: int) -> list[float | None]:
    found: list[float | None] = store.online(SINCE, ["ehr/000.e1"], as_of=night(day))[
        "creatinine_since_last_hours"
    ].to_pylist()
    return found


@pytest.mark.parametrize(("kind", "standing"), [(FeatureStore, 4), (UnlockedStore, 2)], ids=["ours", "control"])
def test_an_older_row_never_wins_though_it_was_compared_before_the_newer_one_was_written(
    online_store: FeatureStore, lake: duckdb.DuckDBPyConnection, kind: type[FeatureStore], standing: int
) -> None:
    online_store.compute(lake, LABS, spine_of(("e1", 2), ("e1", 4)), name="nights", snapshot_id=1)
    assert online_since(online_store, 4) == [None]
    place = Place(kind, online_store.folder, online_store.places)
    events = FORK.Event(), FORK.Event()
    run_at_once((put_an_old_row, place, *events), (put_the_newer_row, place, *events))
    held = online_store.online(SINCE, ["ehr/000.e1"], as_of=night(4))
    assert held["recent_labs__feature_prediction_time"].to_pylist() == [night(standing)]


def test_of_many_nights_that_three_processes_put_online_in_any_order_the_last_stands(
    online_store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    spine = spine_of(*(("e1", day) for day in range(2, 10)))
    online_store.compute(lake, LABS, spine, name="nights", snapshot_id=1)
    place = Place(FeatureStore, online_store.folder, online_store.places)
    run_at_once(*((put_every_night, place, seed) for seed in range(3)))
    offline = online_store.read(SINCE, spine)["creatinine_since_last_hours"].to_pylist()
    assert len(set(offline)) > 2
    assert online_since(online_store, 9) == offline[-1:]
