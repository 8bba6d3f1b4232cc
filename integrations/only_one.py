"""One process at a time, over all that share a place: a lock in Postgres or Redis, or on a file."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from integrations.errors import EnvironmentFault

WAIT_SECONDS = 600
LOOK_SECONDS = 0.05  # between two looks at a file
LEASE_SECONDS = 120  # in Redis: so long a lock outlives the process that died with it

Held = Callable[[], None]


@contextmanager
def only_one(what: str, *, url: str | None, file: Path) -> Iterator[Held]:
    """Wait until no other process is at `what`, and keep them waiting meanwhile.

    Locks in the database of `url` (postgresql://, redis://, rediss://), without one on a file. Yields a function that
    holds the lock on: to be called before each write. It raises EnvironmentFault where the lock is lost.
    """
    if url is None:
        with _file_lock(what, file):
            yield lambda: None
    elif url.startswith("redis"):
        with _redis_lock(what, url) as held:
            yield held
    else:
        with _postgres_lock(what, url) as held:
            yield held


def place_of(url: str) -> str:
    """Say where a URL leads without who goes there: host, port and database."""
    parts = urlsplit(url)
    host = parts.hostname or "local socket"
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or 'default port'}{parts.path}"


@contextmanager
def _file_lock(what: str, file: Path) -> Iterator[None]:
    """Lock the file, and leave in it which process did."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _wait_for(what, file, descriptor)
        try:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it with a process forked meanwhile
    finally:
        os.close(descriptor)


def _wait_for(what: str, file: Path, descriptor: int) -> None:
    """Take the lock once it is free. Raises EnvironmentFault where that takes longer than anything Rounds does."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                break
        time.sleep(LOOK_SECONDS)
    holder = os.pread(descriptor, 20, 0).decode(errors="replace")
    raise EnvironmentFault(
        f"process {holder or 'unknown'} has been at {what} for more than {WAIT_SECONDS:,} s",
        where=str(file),
        to_do="see whether that process still works; if it hangs, end it, and the lock is free at once",
    )


@contextmanager
def _postgres_lock(what: str, url: str) -> Iterator[Held]:
    """Lock for as long as the connection lives: the server lets go by itself when the process dies."""
    import psycopg

    address = url.replace("postgresql+psycopg://", "postgresql://", 1)
    with _faults(what, url, psycopg.Error):
        connection = psycopg.connect(address, autocommit=True)
    try:
        with _faults(what, url, psycopg.Error):
            connection.execute(f"set lock_timeout = '{WAIT_SECONDS}s'".encode())
            connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [f"rounds {what}"])

        def held() -> None:
            with _faults(what, url, psycopg.Error):
                connection.execute("select 1")

        yield held
    finally:
        connection.close()


@contextmanager
def _redis_lock(what: str, url: str) -> Iterator[Held]:
    """Lock for a lease that every write renews."""
    import redis
    from redis.exceptions import LockError

    client = redis.Redis.from_url(url)
    lock = client.lock(f"rounds {what}", timeout=LEASE_SECONDS, blocking_timeout=WAIT_SECONDS)

    def held() -> None:
        with _faults(what, url, redis.RedisError):
            lock.extend(LEASE_SECONDS, replace_ttl=True)

    try:
        with _faults(what, url, redis.RedisError):
            if not lock.acquire():
                raise redis.TimeoutError
        try:
            yield held
        finally:
            with suppress(LockError):  # lost meanwhile: `held` says so to whoever still wants to write
                lock.release()
    finally:
        client.close()


@contextmanager
def _faults(what: str, url: str, kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise EnvironmentFault(
            f"the lock of {what} cannot be had: {type(error).__name__}",
            where=place_of(url),
            to_do="see that the server answers and that no other process hangs in it",
        ) from None


def own_folder(temp: Path, name: str) -> tuple[Path, Callable[[], None]]:
    """Make a folder under `temp` that is ours while we live; return it and how to give it back.

    Its lock says so to others: one whose process is no more goes here.
    """
    for left in temp.glob(f"{name}-*"):
        lock = os.open(left, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
        except BlockingIOError:
            pass  # somebody works with it
        finally:
            os.close(lock)
    made, folder = temp / f".{uuid4().hex}", temp / f"{name}-{uuid4().hex}"
    made.mkdir(parents=True, mode=0o700)
    held = os.open(made, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    made.rename(folder)

    def give_back() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)

    return folder, give_back
