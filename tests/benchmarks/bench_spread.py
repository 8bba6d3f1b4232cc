"""The same parts by one process, by a Dask cluster of one worker, and by one of two: wall time, all started before."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.server import environment, free_port, start_server, stop, wait_until_up
from integrations.settings import CHECKOUT, Settings
from tests.benchmarks.bench_size import step
from tests.benchmarks.row import Row
from tests.flows.cluster import dask_cluster

PATIENTS = 100_000
COMMAND = ("score", "readmission_30d", "--version", "1", "--all-due", "--as-of", "2024-07-01T00:00:00Z")
# A part for each bucket of the lake.
BY_BUCKET = """
import sys, flows.house
flows.house.TIMES_IN_MEMORY = 60
from flows.cli import main
sys.exit(main(sys.argv[1:]))
"""


def rows() -> Iterator[Row]:
    """Yield the wall time of a cluster over that of one process; the cores of this machine bound what two can do."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        step("model", folder / "model", 10_000)
        step("two numbers", folder / "home", PATIENTS, str(folder / "model"))
        settings = Settings(home=folder / "server")
        server = start_server(settings, free_port())
        try:
            wait_until_up(server, settings)
            home = _copied(folder)
            alone = _timed(home, environment(Settings(home=home), server.url))
            yield Row(what=f"{PATIENTS:,} patients scored, one process", figure=alone, unit="s")
            for workers in (1, 2):
                home = _copied(folder)
                with dask_cluster(Settings(home=home), server.url, workers, folder) as cluster:
                    spent = _timed(home, cluster.environment)
                yield Row(
                    what=f"the same by a Dask cluster of {workers} / one process",
                    figure=spent / alone,
                    unit="x wall time",
                    detail=f"{spent:.1f} s, four parts; imports of the workers included",
                )
        finally:
            stop(server.pid)


def _copied(folder: Path) -> Path:
    """The same house once more, of which nothing has been scored."""
    home = folder / "once"
    shutil.rmtree(home, ignore_errors=True)
    return Path(shutil.copytree(folder / "home", home))


def _timed(home: Path, given: dict[str, str]) -> float:
    bucket_count = {"ROUNDS_HOME": str(home), "ROUNDS_BUCKET_COUNT": "4"}
    begin = time.monotonic()
    command = [sys.executable, "-c", BY_BUCKET, *COMMAND]
    subprocess.run(command, cwd=CHECKOUT, env={**given, **bucket_count}, check=True, capture_output=True)
    return time.monotonic() - begin
