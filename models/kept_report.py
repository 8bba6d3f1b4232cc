"""A report for people: one file under ROUNDS_HOME/reports that never changes, and its sha256 in records."""

import hashlib
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, insert

from integrations.durable import write_whole
from integrations.records.schema import report


def keep_report(
    connection: Connection, folder: Path, data: bytes, *, kind: str, use_case: str, version: int, created_at: datetime
) -> str:
    """Write a report (kind: drift, evaluation), note it, and return its file name, which holds part of its hash."""
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{kind}-{use_case}-v{version}-{created_at:%Y%m%dT%H%M%SZ}-{sha256[:12]}.html"
    write_whole(folder / name, data, mode=0o400)
    values = {"use_case": use_case, "version": version, "kind": kind, "created_at": created_at}
    connection.execute(insert(report).values(**values, path=name, sha256=sha256))
    return name


def report_state(path: Path, sha256: str) -> str:
    """Whether a report is still what was written: as written, changed, missing."""
    if not path.is_file():
        return "missing"
    with path.open("rb") as file:
        return "as written" if hashlib.file_digest(file, "sha256").hexdigest() == sha256 else "changed"
