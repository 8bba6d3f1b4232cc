"""Every feature view in Feast: its offline join is the oracle of ours, and what is online is what is offline."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.definitions import feature_names, view_names
from features.store import FeatureStore
from integrations.duck import connect
from models.cases import open_stories
from tests.features.conftest import ONLINE, PlacesOf
from tests.features.view_stories import spine_of, stories_of

pytestmark = pytest.mark.xdist_group("online stores")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The features of a view's stories, kept in two files of two snapshots that share the rows of every second stay."""

    view: str
    store: FeatureStore
    lake: duckdb.DuckDBPyConnection
    spine: pa.Table

    @property
    def features(self) -> tuple[str, ...]:
        return feature_names([self.view])


@pytest.fixture(scope="module", params=view_names())
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp(request.param)
    stories = stories_of(request.param)
    lake = connect(folder / "tmp", threads=1)
    open_stories(lake, stories, folder)
    spine = spine_of(stories)
    store = FeatureStore(folder / "features")
    is_of_both = pa.array([number % 2 == 0 for number in range(spine.num_rows)])
    store.compute(lake, [request.param], spine.filter(is_of_both), name="first", snapshot_id=2)
    store.compute(lake, [request.param], spine, name="second", snapshot_id=1)
    yield Kept(view=request.param, store=store, lake=lake, spine=spine)
    store.close()
    lake.close()


@pytest.fixture(scope="module", params=ONLINE)
def online_store(
    request: pytest.FixtureRequest, places_of: PlacesOf, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeatureStore]:
    """One store of each kind for all views: the stays of two views bear the same names and must not meet."""
    store = FeatureStore(tmp_path_factory.mktemp(request.param) / "features", places=places_of(request.param))
    yield store
    store.close()


def test_every_view_reads_by_equality_what_feast_reads_as_of_prediction_time(kept: Kept) -> None:
    assert len(list(kept.store.offline.rglob("*.parquet"))) == 2
    turned = kept.spine.take(pa.array(range(kept.spine.num_rows - 1, -1, -1)))
    read = kept.store.read(kept.features, turned)
    assert read.equals(kept.store.read_through_feast(kept.features, turned))
    assert read.select(turned.column_names).equals(turned)
    values = [read[name] for name in read.column_names[-len(kept.features) :]]
    assert any(pc.count(value).as_py() for value in values), "nothing but nulls was compared"


def test_every_view_gives_online_what_it_gives_offline_at_the_same_time(kept: Kept, online_store: FeatureStore) -> None:
    online_store.compute(kept.lake, [kept.view], kept.spine, name="stories", snapshot_id=1)
    newest = kept.spine.group_by("encounter_id").aggregate([("prediction_time", "max")])
    last = pc.max(newest["prediction_time_max"]).as_py()
    assert online_store.materialize(last, [kept.view], window=timedelta(days=36_500)) == newest.num_rows
    compared = 0
    for at in pc.unique(newest["prediction_time_max"]).to_pylist():
        stays = newest.filter(pc.equal(newest["prediction_time_max"], at))["encounter_id"]
        asked = kept.spine.filter(
            pc.and_(pc.equal(kept.spine["prediction_time"], at), pc.is_in(kept.spine["encounter_id"], stays))
        )
        offline = online_store.read(kept.features, asked, kept.lake)
        online = online_store.online(kept.features, asked["encounter_id"].to_pylist(), as_of=at)
        names = ["encounter_id", *(feature.partition(":")[2] for feature in kept.features)]
        assert online.select(names).equals(offline.select(names))
        assert online[f"{kept.view}__feature_prediction_time"].equals(asked["prediction_time"])
        compared += sum(pc.count(online[name]).as_py() for name in names[1:])
    assert compared, "nothing but nulls was compared"
