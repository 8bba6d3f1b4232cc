"""A process that is killed in the worst moment of a write-back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection

from integrations.records import Records


@dataclass(frozen=True)
class DiesBeforeCommit(Records):
    """Records of a process that is killed between its send and its commit of the answer."""

    opened: list[int] = field(default_factory=list)

    @contextmanager
    def begin(self, *, dry_run: bool = False) -> Iterator[Connection]:
        self.opened.append(1)
        if len(self.opened) > 1:
            raise KeyboardInterrupt
        with super().begin(dry_run=dry_run) as connection:
            yield connection
