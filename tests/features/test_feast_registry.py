"""What Feast knows of views and services, in a file or in Postgres, for one worker or many."""

import logging
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from features.definitions import VIEWS, Service, feature_names, view, view_names
from features.feast_places import FeastPlaces
from features.store import FeatureStore
from integrations.only_one import Held
from tests.conftest import create_database

pytestmark = pytest.mark.xdist_group("online stores")
FORK = multiprocessing.get_context("fork")
WORKERS, TIME_OUT_SECONDS = 4, 60
PASSWORD = "hush-7d1f"
REGISTRIES = [pytest.param("file"), pytest.param("postgres", marks=pytest.mark.part)]


class UnlockedStore(FeatureStore):
    """The control: a store whose workers do not wait for each other at the registry."""

    @contextmanager
    def _registry_alone(self) -> Iterator[Held]:
        yield lambda: None


def with_password(url: str) -> str:
    """The same URL with a password, which the server does not ask for."""
    scheme, rest = url.split("://")
    return f"{scheme}://{rest.split('@')[0].split(':')[0]}:{PASSWORD}@{rest.split('@')[1]}"


@pytest.fixture(params=REGISTRIES)
def new_places(request: pytest.FixtureRequest) -> Callable[[], FeastPlaces]:
    if request.param == "file":
        return FeastPlaces
    server = request.getfixturevalue("postgres_server")
    return lambda: FeastPlaces(registry_url=with_password(create_database(server, f"registry_{uuid4().hex}")))


@pytest.fixture
def places(new_places: Callable[[], FeastPlaces]) -> FeastPlaces:
    return new_places()


def service(number: int) -> Service:
    return Service(
        name=f"readmission_30d_v{number}",
        features=("recent_labs:creatinine_last_mg_dl", "patient_demographics:age_years", "recent_labs:bun_last_mg_dl"),
        owner="ward",
        description="who comes back",
        tags={"manifest_hash": "f" * 64},
    )


def known(store: FeatureStore) -> tuple[dict[str, Any], dict[str, Any]]:
    """The views and the services that Feast lists."""
    with store._opened() as (feast, _):
        return {each.name: each for each in feast.list_feature_views()}, {
            each.name: each for each in feast.list_feature_services()
        }


def test_every_field_of_every_view_says_what_it_is_its_unit_whose_it_is_and_how_old_it_may_be(
    places: FeastPlaces, tmp_path: Path
) -> None:
    store = FeatureStore(tmp_path / "features", places=places)
    views, _ = known(store)
    assert set(views) == set(view_names())
    for name, feast_view in views.items():
        said = view(name)
        fields = {field.name: field for field in feast_view.features}
        assert [name for name, field in fields.items() if not field.description] == []
        for field in fields.values():
            assert field.tags["owner"] == said.owner
            assert float(field.tags["freshness_hours"]) * 3600 == said.freshness.total_seconds()
            assert field.tags["unit"]
        for feature in said.features:
            assert fields[feature.name].tags["unit"] == feature.unit
            assert fields[feature.name].description == feature.description
        assert (feast_view.owner, feast_view.description) == (said.owner, said.description)
    store.close()


def test_a_service_is_declared_once_and_stays_when_views_change(places: FeastPlaces, tmp_path: Path) -> None:
    views = tmp_path / "views"
    views.mkdir()
    for name in ("recent_labs", "patient_demographics"):
        (views / f"{name}.sql").write_bytes((VIEWS / f"{name}.sql").read_bytes())
    store = FeatureStore(tmp_path / "features", views, places)
    assert store.declare(service(1))
    assert not store.declare(service(1))
    sql = views / "patient_demographics.sql"
    sql.write_text(sql.read_text(encoding="utf-8").replace("age_years", "age_at_prediction_years"), encoding="utf-8")
    feast_views, services = known(store)
    assert "age_at_prediction_years" in {field.name for field in feast_views["patient_demographics"].features}
    first = services["readmission_30d_v1"]
    asked = [f"{each.name}:{field.name}" for each in first.feature_view_projections for field in each.features]
    assert sorted(asked) == sorted(service(1).features)
    assert (first.owner, first.description, first.tags) == ("ward", "who comes back", {"manifest_hash": "f" * 64})
    store.close()


def work(kind: type[FeatureStore], folder: Path, places: FeastPlaces, number: int, all_ready: Barrier) -> None:
    """What a worker does first: open Feast, declare what it trained, read what is known."""
    store = kind(folder, places=places)
    all_ready.wait(TIME_OUT_SECONDS)
    assert store.declare(service(number))
    views, services = known(store)
    assert set(views) == set(view_names())
    assert f"readmission_30d_v{number}" in services


def work_at_once(kind: type[FeatureStore], folder: Path, places: FeastPlaces) -> list[int | None]:
    barrier = FORK.Barrier(WORKERS)
    workers = [
        FORK.Process(target=work, args=(kind, folder, places, number, barrier), daemon=True)
        for number in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(TIME_OUT_SECONDS)
    return [worker.exitcode for worker in workers]


def test_many_workers_open_declare_and_read_at_once(places: FeastPlaces, tmp_path: Path) -> None:
    assert work_at_once(FeatureStore, tmp_path / "features", places) == [0] * WORKERS
    store = FeatureStore(tmp_path / "features", places=places)
    views, services = known(store)
    assert set(views) == set(view_names())
    assert set(services) == {f"readmission_30d_v{number}" for number in range(WORKERS)}
    store.close()


def test_without_the_lock_workers_fail_or_lose_what_others_declared(
    new_places: Callable[[], FeastPlaces], tmp_path: Path
) -> None:
    """Now and then they happen to come one after another."""
    assert any(is_spoilt(tmp_path / str(number), new_places()) for number in range(5))


def is_spoilt(folder: Path, places: FeastPlaces) -> bool:
    exits = work_at_once(UnlockedStore, folder, places)
    store = FeatureStore(folder, places=places)
    _, services = known(store)
    store.close()
    return exits != [0] * WORKERS or len(services) < WORKERS


@pytest.mark.part
def test_a_password_is_in_no_file_no_registry_no_log_and_no_name(
    places: FeastPlaces, postgres_server: Callable[[str], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = with_password(create_database(postgres_server, f"secret_{uuid4().hex}"))
    places = replace(places, online="postgres", online_url=url)
    assert PASSWORD not in f"{places!r} {places.named}"
    with caplog.at_level(logging.DEBUG):
        store = FeatureStore(tmp_path / "features", places=places)
        store.declare(service(1))
        assert known(store)[1]
        store.close()
    assert PASSWORD not in caplog.text
    found = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for database in (url, places.registry_url):
        found += rows_of(database) if database else []
    assert any(b"readmission_30d_v1" in each or b"readmission_30d_v1".hex().encode() in each for each in found)
    assert not any(PASSWORD.encode() in each or PASSWORD.encode().hex().encode() in each for each in found)


def rows_of(url: str) -> list[bytes]:
    """Every row of every table as text; bytes are hexadecimal there."""
    with psycopg.connect(url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        texts = [connection.execute(f'select t::text from "{name}" as t'.encode()).fetchall() for (name,) in tables]
    assert tables
    return [row.encode() for rows in texts for (row,) in rows]


def test_a_service_draws_on_features_that_there_are() -> None:
    assert set(service(1).features) <= set(feature_names(view_names()))
