"""A real Dask cluster on the loopback interface: a scheduler and workers, each a process of its own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client

from flows.server import environment, free_port
from integrations.settings import CHECKOUT, Settings

TIME_OUT_SECONDS = 60


@dataclass(frozen=True)
class Cluster:
    """Where the scheduler listens, and the processes of its workers by their address."""

    address: str
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def busy_worker(self) -> str:
        """The address of a worker that has a part in hand at this moment."""
        deadline = time.monotonic() + TIME_OUT_SECONDS
        with Client(self.address) as client:
            while time.monotonic() < deadline:
                busy = [worker for worker, tasks in client.processing().items() if tasks]
                if busy:
                    return str(busy[0])
                time.sleep(0.02)
        raise AssertionError(f"no worker had anything to do within {TIME_OUT_SECONDS} s")

    def kill(self, worker: str) -> None:
        self.workers[worker].kill()
        self.workers[worker].wait()


@contextmanager
def dask_cluster(settings: Settings, url: str, worker_count: int, folder: Path) -> Iterator[Cluster]:
    """Start a scheduler and workers for the house of these settings, and stop them, each by its id."""
    cluster = Cluster(f"tcp://127.0.0.1:{free_port()}")
    scheduler = _start("scheduler", ["--port", cluster.address.rpartition(":")[2]], settings, url, folder)
    try:
        for number in range(worker_count):
            address = f"tcp://127.0.0.1:{free_port()}"
            arguments = [cluster.address, "--listen-address", address, "--nthreads", "1", "--no-nanny"]
            spill = ["--local-directory", str(folder / f"worker-{number}")]
            cluster.workers[address] = _start("worker", [*arguments, *spill], settings, url, folder)
        with Client(cluster.address, timeout=TIME_OUT_SECONDS) as client:
            client.wait_for_workers(worker_count, timeout=TIME_OUT_SECONDS)
        yield cluster
    finally:
        for process in (*cluster.workers.values(), scheduler):
            process.terminate()
            process.wait(timeout=TIME_OUT_SECONDS)


def _start(kind: str, arguments: list[str], settings: Settings, url: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
    if kind == "scheduler":
        command += ["--host", "127.0.0.1"]
    with (folder / f"{kind}.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=CHECKOUT, env=environment(settings, url), stdout=log, stderr=subprocess.STDOUT
        )
