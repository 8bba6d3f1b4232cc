"""Where one ingest or retry works: a folder for it alone, gone afterwards, and nobody else beside it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from integrations.duck import connect, lock
from integrations.errors import Refused
from integrations.ingest.places import IngestPlaces

# DuckDB counts neither its readers' and writers' buffers nor Python: 140 MB and tables on disk take 420 MB.
DUCKDB_SHARE = 0.35


@contextmanager
def scratch(places: IngestPlaces, *, dry_run: bool) -> Iterator[IngestPlaces]:
    """A folder for this run alone; one run at a time, except for dry runs, which write nowhere else."""
    places.temp.mkdir(parents=True, exist_ok=True, mode=0o700)
    if dry_run:
        with _own_folder(places.temp, "plan-") as folder:
            yield replace(places, temp=folder)
        return
    with _one_at_a_time(places.temp / "ingest.lock"), _own_folder(places.temp, "ingest-") as folder:
        yield replace(places, temp=folder)


@contextmanager
def tables(own: IngestPlaces, memory_limit_mb: int, *, is_on_disk: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """The DuckDB of one run: it sees landing, lake and its own folder, and nothing else, whatever a feed says."""
    connection = connect(own.temp, memory_limit_mb=int(memory_limit_mb * DUCKDB_SHARE), is_on_disk=is_on_disk)
    try:
        # DuckDB cannot know how long a file is: left to itself it would hold all rows in memory to look up a few codes.
        connection.execute("set disabled_optimizers = 'build_side_probe_side'")
        lock(connection, own.temp, own.landing, own.lake.root)
        yield connection
    finally:
        connection.close()


@contextmanager
def _own_folder(temp: Path, prefix: str) -> Iterator[Path]:
    """A folder that is locked as long as its run lives. One that nobody holds was left by a run that died, and goes."""
    with ExitStack() as stack:
        with _locked(temp / "scratch.lock"):
            for left_over in (*temp.glob("ingest-*"), *temp.glob("plan-*")):
                if not _is_held(left_over):
                    shutil.rmtree(left_over)
            folder = Path(stack.enter_context(TemporaryDirectory(dir=temp, prefix=prefix)))
            stack.enter_context(_locked(folder / "lock"))
        yield folder


def _is_held(folder: Path) -> bool:
    try:
        with _locked(folder / "lock", fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(lock, fcntl.LOCK_NB))
        except BlockingIOError:
            raise Refused("another ingest is running", where=str(lock), to_do="wait until it is done") from None
        yield


@contextmanager
def _locked(lock: Path, or_not: int = 0) -> Iterator[None]:
    """Hold a lock file. With LOCK_NB raises BlockingIOError where another holds it."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | or_not)
        yield
    finally:
        os.close(descriptor)
