"""Files that are there whole or not at all, and that survive a loss of power."""

import os
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write under a temporary name, flush to the disk, then give the file its name. A missing folder is made (0700)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid4().hex}.part"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
