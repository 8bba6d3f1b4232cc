"""A local Prefect server, its work pool and worker: `make up`, `make down`, and the demo's own server.

All of it lives under ROUNDS_HOME/prefect and listens on the loopback interface only.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from integrations.errors import EnvironmentFault, Refused
from integrations.settings import CHECKOUT, Settings, load_settings

POOL = "rounds"
START_TIMEOUT_SECONDS = 180
# By default the server commits each event of a task apart, and answers 503 to a flow that starts meanwhile; and the
# worker asks every ten seconds what there is to do.
PACE = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}
_STARTED: dict[int, subprocess.Popen[bytes]] = {}  # by this process, so that their end is noticed


@dataclass(frozen=True)
class Server:
    """A running Prefect server."""

    pid: int
    url: str


def api_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


def environment(settings: Settings, url: str) -> dict[str, str]:
    """What a process needs in order to find the server and this house, and nothing that leaves the machine."""
    return {
        **PACE,
        **os.environ,
        "DO_NOT_TRACK": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PYTHONPATH": str(CHECKOUT),
        "ROUNDS_HOME": str(settings.home),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(settings: Settings, port: int) -> Server:
    """Start the server in the background. Its output goes to ROUNDS_HOME/prefect/server.log."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise EnvironmentFault(
                f"port {port} is in use",
                where="Prefect server",
                to_do="stop what listens there, or set ROUNDS_PREFECT_PORT",
            )
    pid = _spawn(settings, "server", ["server", "start", "--host", "127.0.0.1", "--port", str(port)], api_url(port))
    return Server(pid, api_url(port))


def wait_until_up(server: Server, settings: Settings) -> None:
    """Return once the server answers. Raises EnvironmentFault when it has died or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=5) as answer:  # noqa: S310 - loopback
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        if not _is_running(server.pid):
            break
    raise EnvironmentFault(
        "the Prefect server did not come up", where=str(settings.home / "prefect" / "server.log"), to_do="read the log"
    )


def stop(pid: int) -> None:
    """Ask one process, by its id, to end, and wait for it."""
    if not _is_running(pid):
        return
    os.killpg(pid, signal.SIGTERM)
    for _ in range(100):
        if not _is_running(pid):
            return
        time.sleep(0.1)
    os.killpg(pid, signal.SIGKILL)


def up(settings: Settings, port: int) -> Server:
    """Start server, work pool, worker and all deployments."""
    for name in ("server", "worker"):
        if (pid := _read_pid(settings, name)) and _is_running(pid):
            raise Refused(
                f"the {name} of this ROUNDS_HOME is running already", where=f"pid {pid}", to_do="make down first"
            )
    server = start_server(settings, port)
    wait_until_up(server, settings)
    deploy(settings, server.url)
    _spawn(settings, "worker", ["worker", "start", "--pool", POOL, "--type", "process"], server.url)
    return server


def deploy(settings: Settings, url: str) -> None:
    """Make the work pool and register every deployment of prefect.yaml."""
    _prefect(settings, url, "work-pool", "create", POOL, "--type", "process", "--overwrite")
    _prefect(settings, url, "--no-prompt", "deploy", "--all")


def down(settings: Settings) -> list[str]:
    """Stop worker and server of this ROUNDS_HOME. Returns the names of those that ran."""
    stopped = []
    for name in ("worker", "server"):
        if pid := _read_pid(settings, name):
            if _is_running(pid):
                stop(pid)
                stopped.append(name)
            _pid_file(settings, name).unlink()
    return stopped


def _spawn(settings: Settings, name: str, arguments: list[str], url: str) -> int:
    folder = settings.home / "prefect"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=CHECKOUT,
            env=environment(settings, url),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_hear_interrupts,
        )
    _STARTED[process.pid] = process
    _pid_file(settings, name).write_text(str(process.pid), encoding="ascii")
    return process.pid


def _hear_interrupts() -> None:
    """A worker ends by a SIGINT to itself, to which a shell makes deaf whatever it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _prefect(settings: Settings, url: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=CHECKOUT,
        env=environment(settings, url),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EnvironmentFault(
            f"prefect {' '.join(arguments)} failed: {(done.stdout + done.stderr).strip()[-800:]}", where=url
        )


def _pid_file(settings: Settings, name: str) -> Path:
    return settings.home / "prefect" / f"{name}.pid"


def _read_pid(settings: Settings, name: str) -> int | None:
    path = _pid_file(settings, name)
    return int(path.read_text(encoding="ascii")) if path.exists() else None


def _is_running(pid: int) -> bool:
    """Whether the process lives; one that this process started and that has ended is reaped on the way."""
    if pid in _STARTED:
        return _STARTED[pid].poll() is None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main(arguments: list[str]) -> int:
    """`python -m flows.server up|down`."""
    os.umask(0o077)
    settings = load_settings()
    if arguments == ["up"]:
        server = up(settings, settings.prefect_port)
        sys.stdout.write(f"Prefect is up: {server.url.removesuffix('/api')} (state in {settings.home / 'prefect'})\n")
        sys.stdout.write(f"commands run on it with: export PREFECT_API_URL={server.url}\n")
    else:
        stopped = down(settings)
        sys.stdout.write(f"stopped: {', '.join(stopped) or 'nothing was running'}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
