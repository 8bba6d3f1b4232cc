"""Work over the parts of a snapshot: one after another in this process, or spread by Prefect's task runner.

A part is a set of whole persons (work buckets) that fits in memory; a small lake is one part. The work is the same
function either way, and what comes to rest is the same: files and records are its own, only ids and counts come back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flows.due import Round
from flows.house import House, Part, close_snapshot, open_house
from flows.step import on_server, spread_task, tell

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

R = TypeVar("R")


@dataclass(frozen=True)
class Job(Generic[R]):
    """The work on one part, as it travels to a worker: names, ids and times, nothing of a patient."""

    work: Callable[..., R]
    this: Round
    part: Part
    given: tuple[Any, ...]

    def run(self, house: House) -> R:
        return self.work(house, self.this, self.part, *self.given)


def in_parts(house: House, work: Callable[..., R], this: Round, *given: Any) -> list[R]:
    """Run `work(house, this, part, *given)` for every part of the round's snapshot; return what each gave, in order.

    Spread where the settings name a task runner, the lake has several parts, and a Prefect server keeps the run. Then
    `work` must be a function of a module, and may run again for a part whose worker was lost.
    """
    jobs = [Job(work, this, part, given) for part in house.parts(this.snapshot)]
    if len(jobs) == 1 or house.settings.task_runner == "here" or not on_server():
        return [_told(job.run(house), number, jobs) for number, job in enumerate(jobs, 1)]
    return _spread(house, jobs)


def _told(result: R, number: int, jobs: Sequence[Job[R]]) -> R:
    if len(jobs) > 1:
        tell(f"{_name(jobs)}: {number:,} of {len(jobs):,} parts done")
    return result


def _name(jobs: Sequence[Job[R]]) -> str:
    return jobs[0].work.__name__.replace("_", " ")


def _spread(house: House, jobs: Sequence[Job[R]]) -> list[R]:
    part_task = spread_task(_in_worker, name=_name(jobs))
    tell(f"{_name(jobs)}: {len(jobs):,} parts, spread by {house.settings.task_runner}")
    with _task_runner(house) as runner:
        futures = [runner.submit(part_task, {"job": job}) for job in jobs]
        return [_told(future.result(), number, jobs) for number, future in enumerate(futures, 1)]


def _in_worker(job: Job[R]) -> R:
    try:
        return job.run(open_house())
    finally:
        close_snapshot()  # a worker waits for its next part with empty hands


def _task_runner(house: House) -> "TaskRunner[Any]":
    settings = house.settings
    if settings.task_runner == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        return ThreadPoolTaskRunner(max_workers=settings.worker_count)
    from prefect_dask.task_runners import DaskTaskRunner

    if settings.task_runner == "processes":
        # whoever may speak to a scheduler may run code: certificates of this run alone say who may
        cluster = {
            "n_workers": settings.worker_count,
            "threads_per_worker": 1,
            "dashboard_address": None,
            "security": True,
        }
        return DaskTaskRunner(cluster_kwargs=cluster)
    return DaskTaskRunner(address=settings.task_runner)
