"""The name under which the EHR knows a score: always the same one, and no patient number in it."""

import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4, uuid5

import orjson

from integrations.durable import sync_folder, write_whole
from integrations.errors import NotInOrder


def score_identifier(namespace: UUID, site_id: str, use_case: str, encounter_id: str, prediction_time: datetime) -> str:
    """Return the UUIDv5 of one prediction in the site's secret namespace; without the namespace nobody can guess it."""
    name = orjson.dumps([site_id, use_case, encounter_id, prediction_time.astimezone(UTC)])
    return str(uuid5(namespace, name.decode()))


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
    mine = path.parent / f".{uuid4().hex}"
    write_whole(mine, str(uuid4()).encode())
    try:
        os.link(mine, path)
    except FileExistsError:
        pass  # another process was first, and its namespace is the one
    finally:
        mine.unlink()
    sync_folder(path.parent)
