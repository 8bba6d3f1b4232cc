"""A real Dask cluster on the loopback interface: scheduler and workers are processes of their own and speak TLS."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client
from distributed.security import Security

from flows.server import environment, free_port
from integrations.settings import CHECKOUT, Settings
from tests.integrations.web.authority import Authority

TIME_OUT_SECONDS = 60
TLS = "DASK_DISTRIBUTED__COMM__TLS__"


@dataclass(frozen=True)
class Cluster:
    """Where the scheduler listens, what a process of its house needs to know, and its workers by their address."""

    address: str
    environment: dict[str, str]
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def busy_worker(self) -> str:
        """The address of a worker that has a part in hand at this moment."""
        deadline = time.monotonic() + TIME_OUT_SECONDS
        with Client(self.address, security=security(self.environment)) as client:
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
    address = f"tls://127.0.0.1:{free_port()}"
    given = {**environment(settings, url), "ROUNDS_TASK_RUNNER": address, **_certificates(folder)}
    cluster = Cluster(address, given)
    port = ["--port", address.rpartition(":")[2], "--host", "tls://127.0.0.1", "--protocol", "tls"]
    scheduler = _start("scheduler", port, given, folder)
    try:
        for number in range(worker_count):
            worker = f"tls://127.0.0.1:{free_port()}"
            arguments = [address, "--listen-address", worker, "--nthreads", "1", "--no-nanny"]
            arguments += ["--local-directory", str(folder / f"worker-{number}")]
            cluster.workers[worker] = _start("worker", arguments, given, folder)
        with Client(address, timeout=TIME_OUT_SECONDS, security=security(given)) as client:
            client.wait_for_workers(worker_count, timeout=TIME_OUT_SECONDS)
        yield cluster
    finally:
        for process in (*cluster.workers.values(), scheduler):
            process.terminate()
            process.wait(timeout=TIME_OUT_SECONDS)


def security(given: dict[str, str]) -> Security:
    """What the processes of a cluster read from their environment, for a client in this one."""
    named = {name: given[f"{TLS}{name.upper()}"] for name in ("ca_file", "client__cert", "client__key")}
    return Security(
        require_encryption=True,
        tls_ca_file=named["ca_file"],
        tls_client_cert=named["client__cert"],
        tls_client_key=named["client__key"],
    )


def _certificates(folder: Path) -> dict[str, str]:
    authority = Authority(folder)
    given = {f"{TLS}CA_FILE": str(authority.file), "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    for role in ("scheduler", "worker", "client"):
        certificate, key = authority.issue(role)
        given |= {f"{TLS}{role.upper()}__CERT": str(certificate), f"{TLS}{role.upper()}__KEY": str(key)}
    return given


def _start(kind: str, arguments: list[str], given: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
    with (folder / f"{kind}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=CHECKOUT, env=given, stdout=log, stderr=subprocess.STDOUT)
