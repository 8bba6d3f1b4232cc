"""A lake of two stays, and a feature store with each kind of online store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest

from features.feast_places import FeastPlaces
from features.store import FeatureStore
from tests.conftest import create_database
from tests.features.two_stays import opened

ONLINE = [
    pytest.param("sqlite"),
    pytest.param("redis", marks=pytest.mark.part),
    pytest.param("postgres", marks=pytest.mark.part),
]
PlacesOf = Callable[[str], FeastPlaces]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = opened(tmp_path)
    yield connection
    connection.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    store = FeatureStore(tmp_path / "features")
    yield store
    store.close()


@pytest.fixture(scope="session")
def places_of(request: pytest.FixtureRequest) -> PlacesOf:
    """Where Feast is to keep things: an empty online store of the kind asked for."""
    databases = iter(range(64))

    def places(kind: str) -> FeastPlaces:
        if kind == "redis":
            url = f"{request.getfixturevalue('redis_url')}/{next(databases)}"
            return FeastPlaces(online="redis", online_url=url)
        if kind == "postgres":
            url = create_database(request.getfixturevalue("postgres_server"), f"online_{uuid4().hex}")
            return FeastPlaces(online="postgres", online_url=url)
        return FeastPlaces()

    return places


@pytest.fixture(params=ONLINE)
def online_store(request: pytest.FixtureRequest, places_of: PlacesOf, tmp_path: Path) -> Iterator[FeatureStore]:
    """The same story runs on SQLite, Redis and Postgres."""
    store = FeatureStore(tmp_path / "features", places=places_of(request.param))
    yield store
    store.close()
