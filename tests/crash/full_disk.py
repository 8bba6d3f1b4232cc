"""Disks that are full, on purpose: each is put into a process before it begins, and strikes in one place."""

import resource
import signal
from collections.abc import Callable
from typing import Any

NO_LIMIT = resource.RLIM_INFINITY


def files_may_grow_to(size: int) -> None:
    """As on a full disk, a write beyond so many bytes of a file fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, NO_LIMIT))


def full_when_the_lake_writes() -> None:
    """The disk is full as soon as DuckDB writes files of the lake."""
    from integrations import lake

    lake.copy_by_bucket = _while_full(lake.copy_by_bucket)  # type: ignore[attr-defined]


def full_when_the_lake_commits() -> None:
    """The disk is full when a Delta log is written: the files are there, and no reader may see them."""
    from deltalake import DeltaTable

    DeltaTable.create_write_transaction = _while_full(DeltaTable.create_write_transaction)  # type: ignore[method-assign]


def nobody_minds_a_full_lake() -> None:
    """A broken order: what the lake could not write is taken for written."""
    from integrations.lake import Lake

    full_when_the_lake_writes()
    write = Lake.write

    def broken(*arguments: Any, **options: Any) -> int:
        try:
            return write(*arguments, **options)
        except Exception:
            return 1

    Lake.write = broken  # type: ignore[method-assign]


def _while_full(work: Callable[..., Any]) -> Callable[..., Any]:
    def full(*arguments: Any, **options: Any) -> Any:
        files_may_grow_to(300)
        try:
            return work(*arguments, **options)
        finally:
            files_may_grow_to(NO_LIMIT)

    return full
