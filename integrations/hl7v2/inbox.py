"""Messages that were heard and not yet taken in: landing/<source>/.inbox/, fsynced before each is answered.

`open/` holds the one file that is written to, `sealed/` those that an ingest takes. A file is a row of MLLP frames.
What a crash left behind in `open/` is cut back to its last whole frame, since no sender was told that the rest is here,
and sealed.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from integrations.errors import EnvironmentFault, Refused
from integrations.hl7v2.mllp import END, framed

FOLDER, OPEN, SEALED = ".inbox", "open", "sealed"


class Disk:
    """The calls that make bytes last. Whatever was not synced, names in folders too, is lost with the power."""

    def make_folder(self, path: Path) -> None:
        """Make a folder that is there after a loss of power."""
        if not path.exists():
            self.make_folder(path.parent)
            path.mkdir(mode=0o700)
            self.sync_folder(path.parent)

    def create(self, path: Path) -> int:
        """Open a new file to append to."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def append(self, file: int, data: bytes) -> None:
        """Write all of it at the end of a file."""
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]

    def cut(self, file: int, size: int) -> None:
        """Take back what stands after so many bytes."""
        os.ftruncate(file, size)

    def sync(self, file: int) -> None:
        """Make the bytes of a file last."""
        os.fsync(file)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder last."""
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def rename(self, path: Path, target: Path) -> None:
        """Give a file another name."""
        path.rename(target)

    def close(self, file: int) -> None:
        """Close a file."""
        os.close(file)


class Inbox:
    """The inbox of one feed, held by one process at a time; see `inbox_of`."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder, self._disk = folder, disk
        self._file: int | None = None
        self.path = folder  # of the file that is written to
        self._size = 0

    @property
    def sealed(self) -> Path:
        return self.folder / SEALED

    def append(self, messages: Sequence[bytes], at: datetime) -> None:
        """Keep messages; when this returns, they outlive a loss of power. Raises OSError, and then none was kept."""
        if self._file is None:
            self._open(at)
        file, data = self._file, b"".join(map(framed, messages))
        if file is None:
            raise AssertionError("a file is open")
        try:
            self._disk.append(file, data)
            self._disk.sync(file)
        except OSError as error:
            self._take_back(file, error)
            raise
        self._size += len(data)

    def _take_back(self, file: int, why: OSError) -> None:
        """Cut off what was half kept. Where that fails too, nothing may follow it: the next process cuts it back."""
        try:
            self._disk.cut(file, self._size)
        except OSError:
            raise EnvironmentFault(
                "a message was half kept and cannot be taken back",
                where=str(self.folder),
                to_do="mend the disk and listen again: nobody was told that it is here",
            ) from why

    def seal(self) -> Path | None:
        """Close the file that is written to and put it where an ingest takes it; null when nothing was heard."""
        if self._file is None:
            return None
        self._disk.close(self._file)
        self._file, self._size = None, 0
        return self._move(self.path)

    def recover(self) -> None:
        """Seal what a process left that is no more."""
        for path in sorted((self.folder / OPEN).iterdir()):
            held = path.read_bytes()
            end = held.rfind(END) + len(END) if END in held else 0
            file = os.open(path, os.O_WRONLY)
            try:
                self._disk.cut(file, end)
                self._disk.sync(file)
            finally:
                self._disk.close(file)
            if end:
                self._move(path)
            else:
                path.unlink()

    def _open(self, at: datetime) -> None:
        taken = {path.stem for path in self.files()}
        name = f"{at:%Y%m%dT%H%M%S%f}"
        if taken and name <= max(taken):  # a clock that was set back must not change the order
            name = f"{max(taken)}x"
        self.path = self.folder / OPEN / f"{name}.hl7"
        self._file = self._disk.create(self.path)
        self._disk.sync_folder(self.path.parent)

    def files(self) -> list[Path]:
        """The files of messages, in the order in which they were heard."""
        return sorted(
            (path for part in (OPEN, SEALED) for path in (self.folder / part).iterdir()), key=lambda path: path.name
        )

    def _move(self, path: Path) -> Path:
        target = self.sealed / path.name
        self._disk.rename(path, target)
        self._disk.sync_folder(self.sealed)
        self._disk.sync_folder(path.parent)
        return target


@contextmanager
def inbox_of(source: str, landing: Path, disk: Disk | None = None, patience: float = 0) -> Iterator[Inbox]:
    """Hold the inbox of a feed; what another process left is sealed. Raises Refused while another holds it.

    patience: for so many seconds it is tried again, since an ingest holds it for a moment.
    """
    disk = disk or Disk()
    folder = landing / source / FOLDER
    for part in (OPEN, SEALED):
        disk.make_folder(folder / part)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _is_locked(lock, patience):
            raise Refused(
                f"another process listens for {source}", where=str(folder), to_do="stop it, or leave this to it"
            )
        inbox = Inbox(folder, disk)
        inbox.recover()
        yield inbox
        inbox.seal()
    finally:
        os.close(lock)


def _is_locked(lock: int, patience: float) -> bool:
    """Lock it, trying again for so many seconds."""
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        else:
            return True


def is_sealed(source: str, landing: Path) -> bool:
    """Whether all that was heard lies where an ingest takes it."""
    folder = landing / source / FOLDER / OPEN
    return not folder.exists() or not any(folder.iterdir())


def sealed_files(source: str, landing: Path) -> list[Path]:
    """What was heard and waits to be taken in, in order; what a listener that is no more left is sealed first."""
    folder = landing / source / FOLDER
    if not folder.exists():
        return []
    try:
        with inbox_of(source, landing):
            pass
    except Refused:  # a listener holds it, and seals in its own time
        pass
    return sorted((folder / SEALED).iterdir())
