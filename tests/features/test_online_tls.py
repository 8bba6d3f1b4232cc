"""An online store behind TLS is reached by the authority of its certificate, and no other one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from features.feast_places import FeastPlaces, import_feast
from tests.features.tls_terminator import Certificates, TlsTerminator, make_certificates

pytestmark = pytest.mark.part


@dataclass(frozen=True)
class Stores:
    """Addresses of Redis and Postgres by TLS alone, to which an authority is added."""

    redis_url: str
    postgres_url: str
    trusted: Certificates
    stranger: Certificates


@pytest.fixture(scope="module")
def stores(
    redis_url: str, postgres_server: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stores]:
    trusted, stranger = (make_certificates(tmp_path_factory.mktemp(name)) for name in ("trusted", "stranger"))
    secret, port = urlsplit(redis_url).password, urlsplit(redis_url).port
    socket = psycopg.conninfo.conninfo_to_dict(postgres_server("postgres"))
    file = f"{socket['host']}/.s.PGSQL.{socket.get('port') or 5432}"
    with (
        TlsTerminator(trusted, ("127.0.0.1", port or 0)) as before_redis,
        TlsTerminator(trusted, file, asks_first=True) as before_postgres,
    ):
        yield Stores(
            f"rediss://:{secret}@localhost:{before_redis.port}/7",
            f"postgresql://{socket['user']}@localhost:{before_postgres.port}/postgres",
            trusted,
            stranger,
        )


def redis_client(url: str) -> Any:
    import_feast()
    from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig

    said = FeastPlaces(online="redis", online_url=url).config(Path("features"))["online_store"]
    return RedisOnlineStore()._get_client(RedisOnlineStoreConfig(**said))


def ask_postgres(url: str) -> Any:
    import_feast()
    from feast.infra.online_stores.postgres_online_store.postgres import PostgreSQLOnlineStoreConfig
    from feast.infra.utils.postgres.connection_utils import _get_conn_kwargs, _get_conninfo

    said = FeastPlaces(online="postgres", online_url=url).config(Path("features"))["online_store"]
    config = PostgreSQLOnlineStoreConfig(**said)
    with psycopg.connect(_get_conninfo(config), **_get_conn_kwargs(config)) as connection:
        return connection.execute("select 1").fetchone(), connection.pgconn.ssl_in_use


def test_redis_is_reached_by_tls_under_the_authority_that_its_url_names(stores: Stores) -> None:
    with redis_client(f"{stores.redis_url}?ssl_ca_certs={stores.trusted.authority}") as client:
        assert client.ping()
        assert client.connection_pool.connection_kwargs["db"] == 7
    for authority in (f"?ssl_ca_certs={stores.stranger.authority}", ""):
        with redis_client(stores.redis_url + authority) as client, pytest.raises(redis.ConnectionError, match="verify"):
            client.ping()


def test_postgres_is_reached_by_tls_under_the_authority_that_its_url_names(stores: Stores) -> None:
    verified = f"{stores.postgres_url}?sslmode=verify-full&sslrootcert="
    assert ask_postgres(verified + str(stores.trusted.authority)) == ((1,), True)
    assert ask_postgres(stores.postgres_url) == ((1,), True)  # without a word of it, TLS is required
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        ask_postgres(verified + str(stores.stranger.authority))
