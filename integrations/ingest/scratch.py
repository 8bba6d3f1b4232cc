"""Where one ingest or retry works: a folder for it alone, gone afterwards, and nobody else beside it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from integrations.errors import Refused
from integrations.ingest.places import IngestPlaces

# DuckDB counts neither its readers' and writers' buffers nor Python: with 160 MB a file of any size takes 430 MB.
DUCKDB_SHARE = 0.4


@contextmanager
def scratch(places: IngestPlaces, *, dry_run: bool) -> Iterator[IngestPlaces]:
    """A folder for this run alone; one run at a time, except for dry runs, which write nowhere else."""
    places.temp.mkdir(parents=True, exist_ok=True, mode=0o700)
    if dry_run:
        with TemporaryDirectory(dir=places.temp, prefix="plan-") as folder:
            yield replace(places, temp=Path(folder))
        return
    with _one_at_a_time(places.temp / "ingest.lock"):
        for left_over in places.temp.glob("ingest-*"):
            shutil.rmtree(left_over)  # of one that died: it held the lock, and nobody else does now
        with TemporaryDirectory(dir=places.temp, prefix="ingest-") as folder:
            yield replace(places, temp=Path(folder))


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another ingest is running", where=str(lock), to_do="wait until it is done") from None
        yield
    finally:
        os.close(descriptor)
