"""Where Feast keeps what it knows of itself and the newest rows: files beside the features, Redis or Postgres."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from string import Template
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from integrations.errors import EnvironmentFault, WrongUsage
from integrations.only_one import place_of

OnlineKind = Literal["sqlite", "redis", "postgres"]
REDIS_PORT, POSTGRES_PORT = 6379, 5432
REGISTRY_IN_A_FILE = Path(__file__).resolve().parent / "feature_store.yaml"
REGISTRY_IN_POSTGRES = Path(__file__).resolve().parent / "feature_store_postgres.yaml"


@dataclass(frozen=True, kw_only=True)
class FeastPlaces:
    """The online store, and the registry: a file beside the features, or Postgres where many workers share it.

    Both URLs are secret, for they may hold a password.
    """

    online: OnlineKind = "sqlite"
    online_url: str | None = field(default=None, repr=False)
    registry_url: str | None = field(default=None, repr=False)

    @property
    def named(self) -> str:
        """Say where the online rows lie, without who goes there."""
        return self.online if self.online_url is None else f"{self.online} at {place_of(self.online_url)}"

    def config(self, folder: Path) -> dict[str, Any]:
        """Return Feast's settings: those of the file that `feast ui` takes too, and the online store's."""
        file = REGISTRY_IN_A_FILE if self.registry_url is None else REGISTRY_IN_POSTGRES
        names = {
            "ROUNDS_FEATURES": str(folder),
            "ROUNDS_FEATURE_REGISTRY_URL": _with_driver(self.registry_url or ""),
        }
        settings: dict[str, Any] = _filled(yaml.safe_load(file.read_text(encoding="utf-8")), names)
        if self.online_url is not None:
            settings["online_store"] = _redis(self.online_url) if self.online == "redis" else _postgres(self.online_url)
        return settings


def _filled(said: Any, names: dict[str, str]) -> Any:
    """Put what ${NAME} stands for into every text."""
    if isinstance(said, dict):
        return {key: _filled(value, names) for key, value in said.items()}
    return Template(said).substitute(names) if isinstance(said, str) else said


def _with_driver(url: str) -> str:
    scheme, rest = url.split("://", 1) if url else ("", "")
    return f"postgresql+psycopg://{rest}" if scheme.startswith("postgres") else url


def _redis(url: str) -> dict[str, Any]:
    """Write a URL as Feast wants it: parts behind commas, the values JSON, so that a password may hold anything.

    What stands behind the ? is read as Redis's own client reads it, so that a number is one, and `false` is no.
    Feast compares event times before it writes, but cannot tell two snapshots of one time apart: we compare ourselves.
    """
    from redis.connection import parse_url

    with _told_plainly():
        parts, said = urlsplit(url), dict(parse_url(url))  # type: ignore[no-untyped-call]
        int(parts.path.strip("/") or 0)  # what is no number would be passed over there
        host, port = parts.hostname or "localhost", parts.port or REDIS_PORT
    if ":" in host:
        raise WrongUsage(
            "Feast cannot reach a Redis by the number of an IPv6 address",
            where="online_store_url",
            to_do="name its host, and let the name lead to that address",
        )
    for name in ("host", "port", "connection_class"):
        said.pop(name, None)
    said |= {"db": said.get("db", 0), "ssl": parts.scheme == "rediss"}
    values = [f"{name}={json.dumps(value).replace(',', chr(92) + 'u002c')}" for name, value in said.items()]
    return {
        "type": "redis",
        "connection_string": ",".join([f"{host}:{port}", *values]),
        "skip_dedup": True,
    }


def _postgres(url: str) -> dict[str, Any]:
    """Write a URL as Feast wants it: sslmode (else `require`), sslrootcert, sslcert and sslkey pass through."""
    from psycopg.conninfo import conninfo_to_dict

    with _told_plainly():
        known = conninfo_to_dict(_without_driver(url))
        port = int(known.pop("port", None) or POSTGRES_PORT)
    said = {name: str(value) for name, value in known.items() if value is not None}
    files = {f"{name}_path": said.pop(name) for name in ("sslrootcert", "sslcert", "sslkey") if name in said}
    found = {
        "type": "postgres",
        "host": said.pop("host", "localhost"),
        "port": port,
        "database": said.pop("dbname", "rounds"),
        "user": said.pop("user", "rounds"),
        "password": said.pop("password", ""),
        "sslmode": said.pop("sslmode", "require"),
        **files,
    }
    if said:
        raise WrongUsage(
            f"the online store takes no {', '.join(sorted(said))}",
            where="online_store_url",
            to_do="leave only sslmode, sslrootcert, sslcert, sslkey behind the ?",
        )
    return found


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Say that a URL cannot be read, and not what stands in it, which may be a password."""
    from psycopg import ProgrammingError

    try:
        yield
    except (ValueError, ProgrammingError):
        raise WrongUsage(
            "the address of the online store cannot be read",
            where="online_store_url",
            to_do="write it as redis://user:password@host:port/number or as postgresql://user:password@host:port/name: "
            "one host, and what is no letter or digit in user and password as %XX",
        ) from None


def _without_driver(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


@contextmanager
def faults_of(places: FeastPlaces) -> Iterator[None]:
    """Say where the online store is that failed, and not what its client says, which may hold a row."""
    kinds: tuple[type[Exception], ...] = ()
    if places.online == "redis":
        import redis

        kinds = (redis.RedisError,)
    elif places.online == "postgres":
        import psycopg

        kinds = (psycopg.Error,)
    try:
        yield
    except kinds as error:
        raise EnvironmentFault(
            f"the online store does not answer as it should: {type(error).__name__}",
            where=places.named,
            to_do="see that it runs, and that the user of online_store_url may read and write there",
        ) from None


@contextmanager
def disconnected(store: Any) -> Iterator[Any]:
    """Use a store of Feast's once."""
    try:
        yield store
    finally:
        disconnect(store)


def disconnect(store: Any) -> None:
    """Close what Feast opened for its online store and a registry in Postgres; it has no word for it itself."""
    online = store._get_provider().online_store
    for name in ("_conn", "_client"):
        if connection := getattr(online, name, None):
            connection.close()
            setattr(online, name, None)
    if engine := getattr(store.registry, "write_engine", None):
        engine.dispose()


def import_feast() -> None:
    """Import Feast without typeguard, for which it rewrites its own code at each start: 5 CPU seconds become 2."""
    if "feast" in sys.modules:
        return
    typeguard: Any = import_module("typeguard")
    checked = typeguard.typechecked
    typeguard.typechecked = lambda target: target
    try:
        import_module("feast")
    finally:
        typeguard.typechecked = checked
