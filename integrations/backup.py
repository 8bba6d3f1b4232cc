"""Copy all of ROUNDS_HOME into one file.

The archive is a .tar with the files under home/ and, last, manifest.json: sha256 and size of each, what was left out,
and the end of the audit chain. It holds secrets and patients, so it is made for its owner alone (0600).
"""

import hashlib
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import IO
from urllib.parse import quote

from integrations.errors import EnvironmentFault, Refused
from integrations.hl7v2.inbox import FOLDER as INBOX
from integrations.hl7v2.inbox import OPEN, SEALED
from integrations.records import Records, audit
from integrations.records.kept_head import FILE_NAME as HEAD

MANIFEST = "manifest.json"
INSIDE = "home/"
TEMPORARY = "tmp"  # nothing in ROUNDS_HOME/tmp outlives a command
SQLITE_MARK = b"SQLite format 3\0"
SQLITE_COMPANIONS = ("-journal", "-wal", "-shm")


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What an archive holds, or would hold."""

    file_count: int
    byte_count: int
    left_out: tuple[str, ...]


def backup(home: Path, target: Path, *, records: Records, as_of: datetime, dry_run: bool = False) -> Backup:
    """Copy ROUNDS_HOME into a new archive, databases in one consistent state each, records before what they point to.

    Run it between rounds: a file that shrinks or goes away while it is read makes it refuse, and no archive is left. A
    listener may go on: what it has acknowledged before is in the archive.
    """
    if target.exists():
        raise Refused("there is a file already, and a backup overwrites nothing", where=str(target))
    if not target.parent.is_dir():
        raise Refused("the folder of the backup does not exist", where=str(target.parent))
    with _said_plainly(target):
        files, left_out = _survey(home, target, records)
        byte_count = sum(_size(path) for path in files.values())
    if not dry_run:
        with records.read() as connection:
            end = audit.head(connection)
        told = {"made_at": as_of.isoformat(), "left_out": left_out, "audit": {"seq": end.seq, "hash": end.hash}}
        with _said_plainly(target), _written_at_once(target) as archive:
            marks = {name: _add(archive, INSIDE + name, path, target.parent) for name, path in files.items()}
            text = json.dumps({**told, "files": marks}, indent=1).encode()
            archive.addfile(_member(MANIFEST, len(text)), BytesIO(text))
    return Backup(file_count=len(files), byte_count=byte_count, left_out=tuple(left_out))


def _survey(home: Path, target: Path, records: Records) -> tuple[dict[str, Path], list[str]]:
    """The files to copy by their name in the home, in the order of copying, and what is not among them."""
    left_out = []
    database = Path(records.engine.url.database or "").resolve()
    if not records.is_sqlite:
        left_out.append("the records: they are in Postgres, which its own tools back up (pg_dump)")
    elif not database.is_relative_to(home.resolve()):
        left_out.append("the records: their file is not in ROUNDS_HOME")
    found = [path for path in sorted(home.rglob("*")) if path.relative_to(home).parts[0] != TEMPORARY]
    left_out += [f"{path.relative_to(home)}: a link" for path in found if path.is_symlink()]
    files = [path for path in found if path.is_file() and not path.is_symlink() and path.resolve() != target.resolve()]
    databases = {path for path in files if _is_sqlite(path)}
    companions = {Path(f"{path}{suffix}") for path in databases for suffix in SQLITE_COMPANIONS}

    def order(path: Path) -> tuple[bool, bool, bool, bool]:
        """What points to others before what it points to, since files are added all the time and changed never."""
        return path != home / HEAD, path.resolve() != database, path not in databases, "_delta_log" not in path.parts

    kept = sorted((path for path in files if path not in companions), key=order)
    return {path.relative_to(home).as_posix(): path for path in kept}, left_out


def fsync_folder(folder: Path) -> None:
    """Let the disk know the names in a folder, not only what is in its files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> IO[bytes]:
    """Open a file to read; one that a listener has sealed since it was found lies where it seals."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        if path.parent.name != OPEN or path.parents[1].name != INBOX:
            raise
        return (path.parents[1] / SEALED / path.name).open("rb")


def _size(path: Path) -> int:
    with _read(path) as file:
        return os.fstat(file.fileno()).st_size


def _is_sqlite(path: Path) -> bool:
    with _read(path) as file:
        return file.read(len(SQLITE_MARK)) == SQLITE_MARK


@contextmanager
def _said_plainly(target: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        to_do = "run it again when no round is under way; check the space on the disk"
        raise EnvironmentFault(f"the backup was not completed: {error}", where=str(target), to_do=to_do) from error


@contextmanager
def _written_at_once(target: Path) -> Iterator[tarfile.TarFile]:
    """An archive that has its name only when it is complete and on the disk."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        with open(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
        fsync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def _add(archive: tarfile.TarFile, name: str, path: Path, workplace: Path) -> dict[str, str | int]:
    """Copy one file into the archive and return its sha256 and size."""
    if not _is_sqlite(path):
        with _read(path) as file:
            return _add_open(archive, name, file)
    with tempfile.TemporaryDirectory(prefix=".rounds-backup-", dir=workplace) as folder:
        copy = Path(folder) / "copy.db"
        with (
            closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=30)) as source,
            closing(sqlite3.connect(copy)) as into,
        ):
            source.backup(into)
        with copy.open("rb") as file:
            return _add_open(archive, name, file)


def _add_open(archive: tarfile.TarFile, name: str, file: IO[bytes]) -> dict[str, str | int]:
    size = os.fstat(file.fileno()).st_size  # a log that grows meanwhile is copied up to here
    reader = _HashingReader(file)
    archive.addfile(_member(name, size), reader)
    return {"sha256": reader.sha256.hexdigest(), "size": size}


class _HashingReader:
    """Reads a file and remembers the sha256 of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """As of any file."""
        chunk = self._file.read(size)
        self.sha256.update(chunk)
        return chunk


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member
