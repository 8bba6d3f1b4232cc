"""One at a time over a place: on a file, in Redis, in Postgres."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import psycopg
import pytest
import redis

import integrations.only_one
from integrations.errors import EnvironmentFault
from integrations.only_one import only_one, place_of

FORK = multiprocessing.get_context("fork")
TIME_OUT_SECONDS = 30
PLACES = [
    pytest.param("file"),
    pytest.param("redis", marks=pytest.mark.part),
    pytest.param("postgres", marks=pytest.mark.part),
]


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_url')}/0"
    if request.param == "postgres":
        found: str = request.getfixturevalue("postgres_server")("postgres")
        return found
    return None


def hold(what: str, url: str | None, file: Path, is_held: Event, may_end: Event) -> None:
    integrations.only_one.LEASE_SECONDS = 1  # this process ends with the function
    with only_one(what, url=url, file=file):
        is_held.set()
        may_end.wait(TIME_OUT_SECONDS)


def enter(what: str, url: str | None, file: Path, is_in: Event) -> None:
    with only_one(what, url=url, file=file):
        is_in.set()


def test_another_process_waits_until_the_first_is_out_and_of_another_thing_it_need_not(
    url: str | None, tmp_path: Path
) -> None:
    first, other = FORK.Event(), FORK.Event()
    with only_one("the thing", url=url, file=tmp_path / "lock"):
        waiting = FORK.Process(target=enter, args=("the thing", url, tmp_path / "lock", first), daemon=True)
        free = FORK.Process(target=enter, args=("another thing", url, tmp_path / "other.lock", other), daemon=True)
        waiting.start()
        free.start()
        assert other.wait(TIME_OUT_SECONDS)
        assert not first.wait(0.3)
    assert first.wait(TIME_OUT_SECONDS)
    for process in (waiting, free):
        process.join(TIME_OUT_SECONDS)
        assert process.exitcode == 0


def test_a_process_that_dies_does_not_keep_the_others_waiting(url: str | None, tmp_path: Path) -> None:
    is_held, is_in = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=hold, args=("the thing", url, tmp_path / "lock", is_held, FORK.Event()), daemon=True)
    holder.start()
    assert is_held.wait(TIME_OUT_SECONDS)
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join(TIME_OUT_SECONDS)
    enter("the thing", url, tmp_path / "lock", is_in)
    assert is_in.is_set()


def test_the_wait_for_who_hangs_has_an_end_and_says_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_held, may_end, file = FORK.Event(), FORK.Event(), tmp_path / "lock"
    holder = FORK.Process(target=hold, args=("the thing", None, file, is_held, may_end), daemon=True)
    holder.start()
    assert is_held.wait(TIME_OUT_SECONDS)
    monkeypatch.setattr("integrations.only_one.WAIT_SECONDS", 0.2)
    with pytest.raises(EnvironmentFault) as fault, only_one("the thing", url=None, file=file):
        pass
    assert f"process {holder.pid} has been at the thing" in fault.value.what
    assert fault.value.where == str(file)
    assert "end it" in fault.value.to_do
    may_end.set()
    holder.join(TIME_OUT_SECONDS)
    with only_one("the thing", url=None, file=file):
        assert file.read_text() == str(os.getpid())


@pytest.mark.part
def test_who_has_lost_the_lock_is_told_before_the_next_write(
    redis_url: str, postgres_server: Callable[[str], str], tmp_path: Path
) -> None:
    with only_one("lost", url=redis_url, file=tmp_path / "lock") as held:
        held()
        with redis.Redis.from_url(redis_url) as client:
            client.delete("rounds lost")
        with pytest.raises(EnvironmentFault, match="the lock of lost cannot be had"):
            held()
    with only_one("lost", url=postgres_server("postgres"), file=tmp_path / "lock") as held:
        held()
        with psycopg.connect(postgres_server("postgres"), autocommit=True) as connection:
            connection.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")
        with pytest.raises(EnvironmentFault, match="the lock of lost cannot be had"):
            held()


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_server_that_does_not_answer_is_named_without_user_and_password(scheme: str, tmp_path: Path) -> None:
    url = f"{scheme}://ada:hush@127.0.0.1:9/3"
    with (
        pytest.raises(EnvironmentFault) as fault,
        only_one("the thing", url=url, file=tmp_path / "lock"),
    ):
        pass
    assert fault.value.where == place_of(url) == "127.0.0.1:9/3"
    assert "hush" not in str(fault.value)
    assert fault.value.__suppress_context__


def test_a_place_is_named_so_that_its_port_can_be_told_from_its_address() -> None:
    assert place_of("redis://ada:hush@[::1]:6379/2?socket_timeout=3") == "[::1]:6379/2"
    assert place_of("postgresql://ada:hush@store/features") == "store:default port/features"
