"""The online store, on SQLite, Redis and Postgres: the newest row of each stay, and never one that is too old."""

import gc
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features.definitions import VIEWS, view
from features.feast_places import FeastPlaces
from features.store import FeatureStore
from integrations.errors import EnvironmentFault
from tests.features.two_stays import night, spine_at, spine_of

pytestmark = pytest.mark.xdist_group("online stores")
LABS = ["recent_labs"]
CREATININE = ["recent_labs:creatinine_last_mg_dl"]
STAYS = ["ehr/000.e1", "ehr/000.e2", "ehr/000.e3"]
OF_WHEN = "recent_labs__feature_prediction_time"
THREE_DAYS = timedelta(hours=72)


def creatinine(store: FeatureStore, as_of: datetime) -> list[float | None]:
    found: list[float | None] = store.online(CREATININE, STAYS, as_of=as_of)["creatinine_last_mg_dl"].to_pylist()
    return found


def test_online_holds_the_newest_row_of_the_window_and_an_older_one_never_wins(
    online_store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    assert online_store.materialize(night(4), LABS) == 0
    online_store.compute(lake, LABS, spine_of(("e1", 2), ("e1", 4), ("e2", 3), ("e1", 9)), name="all", snapshot_id=1)
    assert online_store.materialize(night(4), LABS, window=THREE_DAYS) == 2
    held = online_store.online(CREATININE, STAYS, as_of=night(4))
    assert held["encounter_id"].to_pylist() == STAYS
    assert held["creatinine_last_mg_dl"].to_pylist() == [1.4, None, None]
    assert held[OF_WHEN].to_pylist() == [night(4), night(3), None]
    assert online_store.materialize(night(2), LABS, window=THREE_DAYS) == 0
    assert creatinine(online_store, night(4)) == [1.4, None, None]
    assert online_store.materialize(night(4), LABS) == 0


def test_of_two_times_within_a_second_the_later_one_stands_and_is_told_to_the_microsecond(
    online_store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    first, second = (night(4) + timedelta(microseconds=us) for us in (300_001, 700_002))
    online_store.compute(lake, LABS, spine_at(("e1", first), ("e1", second)), name="both", snapshot_id=1)
    assert online_store.materialize(second, LABS) == 1
    assert online_store.materialize(second, LABS) == 0
    assert online_store.materialize(first, LABS) == 0
    held = online_store.online(CREATININE, STAYS[:1], as_of=second)
    assert held[OF_WHEN].to_pylist() == [second]
    assert online_store.online(CREATININE, STAYS[:1], as_of=first)["creatinine_last_mg_dl"].to_pylist() == [None]


def test_a_row_of_the_same_time_that_a_newer_snapshot_gave_wins_and_an_older_one_does_not(
    online_store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    spine = spine_of(("e1", 4))
    online_store.compute(lake, LABS, spine, name="old", snapshot_id=1)
    assert online_store.materialize(night(4), LABS) == 1
    lake.execute("update observation set value_number = 2.2 where effective_at > timestamptz '2024-01-02'")
    online_store.compute(lake, LABS, spine, name="new", snapshot_id=2)
    assert online_store.materialize(night(4), LABS) == 1
    assert (
        creatinine(online_store, night(4))[0]
        == online_store.read(CREATININE, spine)["creatinine_last_mg_dl"][0].as_py()
        == 2.2
    )
    for path in online_store.offline.rglob("*-new.parquet"):
        path.unlink()
    online_store.compute(lake, LABS, spine, name="old", snapshot_id=1)
    assert online_store.materialize(night(4), LABS) == 0


def test_a_row_that_is_older_than_its_views_freshness_gives_nulls_and_says_of_when_it_is(
    online_store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    online_store.compute(lake, LABS, spine_of(("e1", 4)), name="night", snapshot_id=1)
    online_store.materialize(night(4), LABS)
    freshness, tick = view("recent_labs").freshness, timedelta(microseconds=1)
    for as_of, value in (
        (night(4) - tick, None),
        (night(4), 1.4),
        (night(4) + freshness, 1.4),
        (night(4) + freshness + tick, None),
    ):
        held = online_store.online(CREATININE, STAYS[:1], as_of=as_of)
        assert held["creatinine_last_mg_dl"].to_pylist() == [value]
        assert held[OF_WHEN].to_pylist() == [night(4)]


def test_a_value_that_is_older_than_its_window_is_null_online_and_offline(
    online_store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    still, no_more = (datetime(2024, 1, 10, hour, minute, tzinfo=UTC) for hour, minute in ((5, 59), (6, 0)))
    both = spine_at(("e1", still), ("e1", no_more))
    online_store.compute(lake, LABS, both, name="nights", snapshot_id=1)
    assert online_store.read(CREATININE, both)["creatinine_last_mg_dl"].to_pylist() == [1.4, None]
    for at, value in ((still, 1.4), (no_more, None)):
        assert online_store.materialize(at, LABS) == 1
        held = online_store.online(CREATININE, STAYS[:1], as_of=at)
        assert (held["creatinine_last_mg_dl"].to_pylist(), held[OF_WHEN].to_pylist()) == ([value], [at])


def test_a_row_of_another_version_of_the_view_is_as_good_as_none(
    lake: duckdb.DuckDBPyConnection, online_store: FeatureStore, tmp_path: Path
) -> None:
    views = tmp_path / "views"
    views.mkdir()
    path = views / "recent_labs.sql"
    path.write_bytes((VIEWS / "recent_labs.sql").read_bytes())
    store = FeatureStore(tmp_path / "features", views, online_store.places)
    spine = spine_of(("e1", 4))
    store.compute(lake, LABS, spine, name="night", snapshot_id=1)
    store.materialize(night(4), LABS)
    assert creatinine(store, night(4))[0] == 1.4
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            "last_value\n        as {word}_last", "last_value * 2\n        as {word}_last"
        ),
        encoding="utf-8",
    )
    held = store.online(CREATININE, STAYS, as_of=night(4))
    assert (held["creatinine_last_mg_dl"].to_pylist(), held[OF_WHEN].to_pylist()) == ([None] * 3, [None] * 3)
    store.compute(lake, LABS, spine, name="night", snapshot_id=1)
    assert store.materialize(night(4), LABS) == 1
    assert creatinine(store, night(4))[0] == 2.8
    store.close()


@pytest.mark.parametrize(("kind", "scheme"), [("redis", "redis"), ("postgres", "postgresql")])
def test_a_store_that_does_not_answer_is_named_without_its_password(kind: Any, scheme: str, tmp_path: Path) -> None:
    places = FeastPlaces(online=kind, online_url=f"{scheme}://ada:hush@127.0.0.1:9/3")
    store = FeatureStore(tmp_path / "features", places=places)
    for ask in (lambda: creatinine(store, night(4)), lambda: store.materialize(night(4), LABS)):
        with pytest.raises(EnvironmentFault) as fault:
            ask()
        assert "127.0.0.1:9/3" in fault.value.where
        assert "hush" not in str(fault.value)
        assert fault.value.__suppress_context__
    del fault
    with warnings.catch_warnings():  # a connection that psycopg could not make complains when it is thrown away
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
