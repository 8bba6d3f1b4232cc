"""Run a command of Rounds in a process of its own, and kill it: by SIGKILL, so that nothing of it can tidy up.

The processes are forked from one that has imported everything, so that a life costs no imports. A kill falls either at
an instant, from outside, or at a point: just before the n-th file is opened for writing, renamed or removed, or the
n-th statement or commit reaches the records.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

Command = tuple[str, ...]
TIME_OUT_SECONDS = 300
PRELOADED = (
    "skops.io",  # first: it looks for each ufunc in every module that is there
    "deltalake",
    "fhir.resources.R4B.riskassessment",
    "ibis",
    "feast",
    "features.store",
    "flows.cli",
    "flows.ingest",
    "flows.score",
    "flows.write_back",
    "models.explanation",
    "models.scoring",
    "shap",
    "sklearn.ensemble",
    "tests.crash.champion",
)
FILE_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")
BATCH = 1  # how many scores a write-back has in hand at once, so that a kill falls between batches too


@dataclass(frozen=True, kw_only=True)
class Kill:
    """When a process dies: at the n-th point, or so many seconds after it began."""

    point: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a process ended. points: how many it passed, None when it was killed."""

    exit_code: int | None
    seconds: float
    points: int | None
    said: str

    @property
    def was_killed(self) -> bool:
        return self.exit_code == -signal.SIGKILL


def draw_kill(random: Random, whole: Run) -> Kill:
    """Draw a kill within the life of a run that was let live."""
    if random.random() < 0.5:
        return Kill(seconds=random.random() * whole.seconds)
    return Kill(point=random.randint(1, whole.points or 1))


def run(
    home: Path, work: Command | Callable[..., None], *arguments: Any, kill: Kill | None = None, double: Any = None
) -> Run:
    """Run a command on a home, or a function with the home as its first argument, in a process of its own.

    `double` is called first, in that process: what it breaks is broken for this life only.
    """
    here, there = multiprocessing.Pipe()
    process = _context().Process(target=_live, args=(there, home, work, arguments, kill or Kill(), double))
    process.start()
    there.close()
    if not here.poll(TIME_OUT_SECONDS):
        process.kill()
        raise AssertionError("the process did not start in time")
    here.recv()
    begin = time.monotonic()
    _let_live(process, kill)
    seconds = time.monotonic() - begin
    points = here.recv() if process.exitcode == 0 else None
    here.close()
    said = home.with_name(f"{home.name}.said")
    heard = said.read_text(encoding="utf-8") if said.exists() else ""  # it may die before it can say anything
    return Run(exit_code=process.exitcode, seconds=seconds, points=points, said=heard)


def _let_live(process: BaseProcess, kill: Kill | None) -> None:
    limit = TIME_OUT_SECONDS if kill is None or kill.seconds is None else kill.seconds
    if not wait([process.sentinel], limit):
        process.kill()
    process.join()


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _live(
    pipe: Any, home: Path, work: Command | Callable[..., None], arguments: tuple[Any, ...], kill: Kill, double: Any
) -> None:
    """One life: everything that happens in the process."""
    os.environ["ROUNDS_HOME"] = str(home)
    os.environ.pop("PREFECT_API_URL", None)
    from integrations.write_back import send

    send.BATCH = BATCH
    if double is not None:
        double()
    with (
        home.with_name(f"{home.name}.said").open("w", encoding="utf-8", buffering=1) as said,
        redirect_stdout(said),
        redirect_stderr(said),
    ):
        points = _Points(home, kill.point)
        points.watch()
        pipe.send("born")  # from here on it may be killed: what it says has a place
        code = _do(home, work, arguments)
    if code == 0:
        pipe.send(points.count)
    sys.exit(code)


def _do(home: Path, work: Command | Callable[..., None], arguments: tuple[Any, ...]) -> int:
    if callable(work):
        work(home, *arguments)
        return 0
    from flows.cli import main

    return main(list(work))


class _Points:
    """Counts what touches the disk, and ends the process at one of them."""

    def __init__(self, home: Path, last: int | None) -> None:
        self.home, self.last, self.count = str(home), last, 0

    def watch(self) -> None:
        from sqlalchemy import Engine, event

        sys.addaudithook(self._on_event)
        event.listen(Engine, "before_cursor_execute", lambda *_: self._pass())
        event.listen(Engine, "commit", lambda *_: self._pass())

    def _on_event(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name in FILE_EVENTS or (name == "open" and self._is_written(*arguments)):
            self._pass()

    def _is_written(self, path: object, _mode: object, flags: int) -> bool:
        return isinstance(path, str) and path.startswith(self.home) and bool(flags & (os.O_WRONLY | os.O_RDWR))

    def _pass(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
