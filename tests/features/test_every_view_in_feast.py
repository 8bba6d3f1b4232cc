"""Every feature view in Feast: its offline join is the oracle of ours."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.definitions import feature_names, view_names
from features.store import FeatureStore
from integrations.duck import connect
from models.cases import open_stories
from tests.features.view_stories import spine_of, stories_of


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
    lake.close()


def test_every_view_reads_by_equality_what_feast_reads_as_of_prediction_time(kept: Kept) -> None:
    assert len(list(kept.store.offline.rglob("*.parquet"))) == 2
    turned = kept.spine.take(pa.array(range(kept.spine.num_rows - 1, -1, -1)))
    read = kept.store.read(kept.features, turned)
    assert read.equals(kept.store.read_through_feast(kept.features, turned))
    assert read.select(turned.column_names).equals(turned)
    values = [read[name] for name in read.column_names[-len(kept.features) :]]
    assert any(pc.count(value).as_py() for value in values), "nothing but nulls was compared"
