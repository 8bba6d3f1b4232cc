"""Broken orders, on purpose: each is put into a process before it begins, to show that the judge sees it."""

import os
import signal
from pathlib import Path
from typing import Any


def commit_scores_before_outbox() -> None:
    """Scores are committed on their own, and the process dies before their outbox rows."""
    from models import score_records

    insert_rows = score_records.insert_rows

    def broken(connection: Any, table: Any, *rest: Any, **more: Any) -> int:
        if table.name == "outbox":
            connection.commit()
            _die()
        return insert_rows(connection, table, *rest, **more)

    score_records.insert_rows = broken


def commit_extract_before_account() -> None:
    """An extract counts as committed before its account is written."""
    from integrations.ingest import ledger

    def broken(connection: Any, *_rest: Any) -> None:
        connection.commit()
        _die()

    ledger.note_accounts = broken


def die_before_noting() -> None:
    """The file is out, and nobody has noted it: no broken order, but the moment that is hardest to survive."""
    from integrations.write_back import outbox

    outbox.settle = lambda *_rest, **_more: _die()


def never_look() -> None:
    """A target that does not look whether a RiskAssessment is there already."""
    from integrations.write_back.file_target import FileTarget

    FileTarget._already_there = lambda _self, _doubtful: {}  # type: ignore[method-assign]


def write_in_place() -> None:
    """A file that grows under the name by which others find it."""
    from integrations.write_back import file_target

    def broken(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[: len(data) // 2])
        _die()

    file_target.write_whole = broken


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
