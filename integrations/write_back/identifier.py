"""The name under which the EHR knows a score: always the same one, and no patient number in it."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4, uuid5

from integrations.errors import NotInOrder


def score_identifier(namespace: UUID, site_id: str, use_case: str, encounter_id: str, prediction_time: datetime) -> str:
    """Return the UUIDv5 of one prediction in the site's secret namespace; without the namespace nobody can guess it."""
    instant = prediction_time.astimezone(UTC).isoformat(timespec="microseconds")
    return str(uuid5(namespace, json.dumps([site_id, use_case, encounter_id, instant])))


def site_namespace(secrets: Path, site_id: str) -> UUID:
    """Return the site's secret namespace, made at first use.

    Losing the file means that the EHR would receive every later repeat under a new name, so backups hold it.
    Raises NotInOrder when the file is there but holds no namespace.
    """
    path = secrets / f"identifier_namespace_{quote(site_id, safe='')}"
    if not path.exists():
        _make(path)
    try:
        return UUID(path.read_text(encoding="ascii").strip())
    except ValueError:
        raise NotInOrder(
            "the secret namespace of the identifiers is not readable",
            where=str(path),
            to_do="restore the file from a backup; a new one would make the EHR hold scores twice",
        ) from None


def _make(path: Path) -> None:
    """Write a random namespace whole or not at all; when two do so at once, the first one stands."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    temporary = path.parent / f".{path.name}.{uuid4().hex}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(str(uuid4()))
            file.flush()
            os.fsync(file.fileno())
        if not path.exists():
            _link(temporary, path)
    finally:
        temporary.unlink()
    sync_folder(path.parent)


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return  # another process was first, and its namespace is the one


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
