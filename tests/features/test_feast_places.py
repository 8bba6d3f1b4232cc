"""How a URL of settings becomes what Feast wants: nothing of it is lost, and TLS is asked for as it says."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from features.feast_places import FeastPlaces, import_feast
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
        ("redis://store?db=2", {"host": "store", "port": "6379"}, {"db": 2, "ssl": False}),
        ("redis://store/1?db=2", {"host": "store", "port": "6379"}, {"db": 2, "ssl": False}),  # as its own client does
        ("redis:///4", {"host": "localhost", "port": "6379"}, {"db": 4, "ssl": False}),
        (
            "rediss://store?ssl_check_hostname=false&socket_timeout=2.5&health_check_interval=30",
            {"host": "store", "port": "6379"},
            {"db": 0, "ssl": True, "ssl_check_hostname": False, "socket_timeout": 2.5, "health_check_interval": 30},
        ),
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


@pytest.mark.parametrize(
    ("kind", "url", "said"),
    [
        ("redis", "redis://ada:hush@[::1]:6379/0", "IPv6"),
        ("redis", "redis://ada:hush@[::1/0", "cannot be read"),
        ("redis", "redis://ada:hush@store/first", "cannot be read"),
        ("redis", "redis://ada:hush@store:port/1", "cannot be read"),
        ("redis", "redis://ada:hush@store/1?socket_timeout=hush", "cannot be read"),
        ("postgres", "postgresql://ada:hush@store:port/features", "cannot be read"),
        ("postgres", "postgresql://ada:hush@one:1,two:2/features", "cannot be read"),
        ("postgres", "postgresql://ada:hush%zz@store/features", "cannot be read"),
        ("postgres", "postgresql://ada:hush@store/features?sslmod=require", "cannot be read"),
    ],
)
def test_an_address_that_cannot_be_taken_is_refused_without_its_password(kind: str, url: str, said: str) -> None:
    with pytest.raises(WrongUsage, match=said) as refused:
        online(kind, url)
    assert "hush" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_postgres_at_an_ipv6_address_is_reached_there() -> None:
    said = online("postgres", f"postgresql://ada:{QUOTED}@[::1]:7000/features")
    assert (said["host"], said["port"], said["password"]) == ("::1", 7000, HARD)
    url = f"postgresql://ada:{QUOTED}@[::1]:7000/features?sslmode=verify-full&sslrootcert=/etc/ca.pem"
    registry = make_url(FeastPlaces(registry_url=url).config(Path("features"))["registry"]["path"])
    assert (registry.host, registry.port, registry.password) == ("::1", 7000, HARD)
    assert dict(registry.query) == {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"}


def test_an_option_that_feast_would_drop_is_refused() -> None:
    with pytest.raises(WrongUsage, match="takes no connect_timeout"):
        online("postgres", "postgresql://ada:hush@store/features?connect_timeout=3")


def test_a_registry_in_postgres_is_reached_by_the_driver_that_is_there() -> None:
    for scheme in ("postgresql", "postgresql+psycopg"):
        registry = FeastPlaces(registry_url=f"{scheme}://ada:hush@store/features").config(Path("features"))["registry"]
        assert registry == {"registry_type": "sql", "path": "postgresql+psycopg://ada:hush@store/features"}
