"""How a URL of settings becomes what Feast wants: nothing of it is lost, and TLS is asked for as it says."""

from pathlib import Path
from typing import Any

import pytest

from features.feast_places import FeastPlaces
from features.store import import_feast
from integrations.errors import WrongUsage

HARD = '12,3=%2F@"é'  # what stands for itself in no URL, or means something to Feast
QUOTED = "12%2C3%3D%252F%40%22%C3%A9"


@pytest.fixture(scope="module", autouse=True)
def _feast() -> None:
    import_feast()


def online(kind: Any, url: str) -> dict[str, Any]:
    found: dict[str, Any] = FeastPlaces(online=kind, online_url=url).config(Path("features"))["online_store"]
    return found


@pytest.mark.parametrize(
    ("url", "node", "values"),
    [
        ("redis://store", {"host": "store", "port": "6379"}, {"db": 0, "ssl": False}),
        (
            f"rediss://ada:{QUOTED}@store:7000/3?ssl_ca_certs=/etc/ca.pem",
            {"host": "store", "port": "7000"},
            {"db": 3, "ssl": True, "username": "ada", "password": HARD, "ssl_ca_certs": "/etc/ca.pem"},
        ),
        ("redis://:0123@store/1", {"host": "store", "port": "6379"}, {"db": 1, "ssl": False, "password": "0123"}),
    ],
)
def test_redis_is_reached_as_its_url_says(url: str, node: dict[str, str], values: dict[str, object]) -> None:
    from feast.infra.online_stores.redis import RedisOnlineStore

    nodes, parameters = RedisOnlineStore._parse_connection_string(online("redis", url)["connection_string"])
    assert (nodes, parameters) == ([node], values)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ("", {"sslmode": "require", "sslkey": None, "sslcert": None, "sslrootcert": None}),
        ("?sslmode=disable", {"sslmode": "disable", "sslkey": None, "sslcert": None, "sslrootcert": None}),
        (
            "?sslmode=verify-full&sslrootcert=/etc/ca.pem&sslcert=/etc/me.pem&sslkey=/etc/me.key",
            {"sslmode": "verify-full", "sslkey": "/etc/me.key", "sslcert": "/etc/me.pem", "sslrootcert": "/etc/ca.pem"},
        ),
    ],
)
@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_postgres_is_reached_as_its_url_says_and_by_tls_where_it_says_nothing(
    scheme: str, options: str, asked: dict[str, str | None]
) -> None:
    from feast.infra.online_stores.postgres_online_store.postgres import PostgreSQLOnlineStoreConfig
    from feast.infra.utils.postgres.connection_utils import _get_conn_kwargs, _get_conninfo

    said = online("postgres", f"{scheme}://ada:{QUOTED}@store:7000/features{options}")
    config = PostgreSQLOnlineStoreConfig(**said)
    assert (config.user, config.password, config.host, config.port, config.database) == (
        "ada",
        HARD,
        "store",
        7000,
        "features",
    )
    assert "store" in _get_conninfo(config)
    kwargs = _get_conn_kwargs(config)
    assert {name: kwargs[name] for name in asked} == asked


def test_an_option_that_feast_would_drop_is_refused() -> None:
    with pytest.raises(WrongUsage, match="takes no connect_timeout"):
        online("postgres", "postgresql://ada:hush@store/features?connect_timeout=3")


def test_a_registry_in_postgres_is_reached_by_the_driver_that_is_there() -> None:
    for scheme in ("postgresql", "postgresql+psycopg"):
        registry = FeastPlaces(registry_url=f"{scheme}://ada:hush@store/features").config(Path("features"))["registry"]
        assert registry == {"registry_type": "sql", "path": "postgresql+psycopg://ada:hush@store/features"}
