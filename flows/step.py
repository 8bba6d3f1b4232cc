"""One body, two ways to run it: inside a Prefect run a step is a task, outside of one it is just its function.

Within a task that works on a whole part a step is its function too, so that a run keeps tens of tasks, not thousands.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext

from flows.faults import hidden_messages

P = ParamSpec("P")
R = TypeVar("R")
P1 = TypeVar("P1")


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Make one step of a flow. Prefect keeps its state and name, never its arguments or what it returns."""
    name = function.__name__.replace("_", " ")

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with hidden_messages():
            return function(*args, **kwargs)

    def given(call: _Call) -> R:
        return guarded(*call.args, **call.kwargs)

    as_task: Callable[[_Call], R] = task(name=name, cache_policy=NO_CACHE, persist_result=False)(given)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if FlowRunContext.get() is None or TaskRunContext.get() is not None:
            return guarded(*args, **kwargs)
        call = _Call(args, kwargs)
        try:
            return as_task(call)
        finally:
            call.args, call.kwargs = (), {}

    return run


def spread_task(function: Callable[[P1], R], *, name: str) -> Any:
    """Make a task of a function of one argument, for a task runner. Dask gives one whose worker was lost to another."""

    @functools.wraps(function)
    def guarded(job: P1) -> R:
        with hidden_messages():
            return function(job)

    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(guarded)


class _Call:
    """What a step is given. Prefect's event loop may hold on to it for ever, so it is emptied once the step is done."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs


def run_flow(flow: Any, *, has_server: bool, **parameters: Any) -> Any:
    """Run a flow on the configured Prefect server, or its bare body where there is none.

    Starting an ephemeral server costs 15 CPU seconds per command, so a typed command without a server pays for none.
    """
    return flow(**parameters) if has_server else flow.fn(**parameters)


def tell(sentence: str) -> None:
    """Log what went in and came out, in ids and counts: in the flow run's log where there is one."""
    log = get_run_logger() if on_server() else logging.getLogger("rounds")
    log.info(sentence)


def is_deployed() -> bool:
    """Whether the body that asks runs in a deployment: by its schedule, an event, or the server's form."""
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None


def on_server() -> bool:
    """Whether the body that asks runs as a Prefect flow run."""
    return FlowRunContext.get() is not None
