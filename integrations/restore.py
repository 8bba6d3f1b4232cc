"""Put a backup back, only when every byte is as it was written."""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

from integrations.backup import INSIDE, MANIFEST, Backup, fsync_folder
from integrations.errors import EnvironmentFault, NotInOrder, Refused

CHUNK_BYTES = 1 << 20


def restore(archive: Path, home: Path, *, dry_run: bool = False) -> Backup:
    """Put an archive back as a new ROUNDS_HOME once all of it was found as it was written. A home in use is refused."""
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        to_do = "move it away, or set ROUNDS_HOME to a new folder"
        raise Refused("a backup is restored into an empty home only", where=str(home), to_do=to_do)
    if not archive.is_file():
        raise Refused("there is no such backup", where=str(archive))
    if dry_run:
        return _checked_copy(archive, None)
    home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{home.name}.restoring-", dir=home.parent))
    try:
        found = _checked_copy(archive, staging)
        staging.rename(home)  # onto an empty folder or nothing: all of it or nothing
        fsync_folder(home.parent)
    except OSError as error:
        raise EnvironmentFault(f"the backup cannot be put in place: {error.strerror}", where=str(home)) from error
    finally:
        if staging.exists():
            shutil.rmtree(staging)
    return found


def _checked_copy(archive: Path, into: Path | None) -> Backup:
    """Read the whole archive, write its files when a folder is given, and compare with its manifest."""
    try:
        with tarfile.open(archive, "r:") as tar:
            manifest, marks = _read_members(tar, into)
            wanted: dict[str, Any] = manifest["files"]
            left_out = tuple(manifest["left_out"])
    except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise NotInOrder("this is not a whole backup of Rounds", where=str(archive)) from error
    wrong = sorted(name for name in wanted.keys() | marks.keys() if wanted.get(name) != marks.get(name))
    if wrong:
        what = f"{len(wrong)} files are missing, added or changed, the first: {wrong[0]}"
        raise NotInOrder(what, where=str(archive), to_do="restore another backup; nothing was put in place")
    return Backup(file_count=len(marks), byte_count=sum(mark["size"] for mark in marks.values()), left_out=left_out)


def _read_members(tar: tarfile.TarFile, into: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest, and the same marks made anew from the files there. Raises ValueError on a foreign member."""
    manifest: dict[str, Any] = {}
    marks: dict[str, Any] = {}
    for member in tar:
        name = member.name.removeprefix(INSIDE)
        source = tar.extractfile(member) if member.isreg() else None
        if source is None or name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ValueError("a member that Rounds did not write")
        if member.name == MANIFEST:
            manifest = json.load(source)
        elif member.name.startswith(INSIDE):
            marks[name] = _copied(source, into / name if into else None)
        else:
            raise ValueError("a member that Rounds did not write")
    return manifest, marks


def _copied(source: IO[bytes], path: Path | None) -> dict[str, str | int]:
    """Read a member to its end, write it to a new file of its owner's if a path is given, and say what it was."""
    sha256, size = hashlib.sha256(), 0
    if path:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            sha256.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        if path:
            os.fsync(file.fileno())
    return {"sha256": sha256.hexdigest(), "size": size}
