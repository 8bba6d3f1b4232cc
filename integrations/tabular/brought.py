"""A zip that somebody brings is an envelope: the files in it are taken as if their folder had been brought."""

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from integrations.errors import Refused
from integrations.landing import PLAIN_NAME, names_in
from integrations.limits import Limits, beyond
from integrations.sent import CHUNK

ENDING = ".zip"


def without_envelopes(path: Path, folder: Path, limits: Limits) -> Path:
    """Return `path` where it holds no zip; else `folder`, with every file as it is and those of a zip where it lay.

    Raises Refused for a zip that is broken, locked, or holds what is no plain file or a name that is there already, and
    for what is more than the limits allow.
    """
    names = names_in(path, limits.most_files)
    if not any(name.endswith(ENDING) for name in names):
        return path
    folder.mkdir(mode=0o700)
    left, count = limits.largest_unpacked, 0
    for name in names:
        origin = path if path.is_file() else path / name
        if not name.endswith(ENDING):
            with origin.open("rb") as file:
                _copy(file, folder, name, limits.largest_file)
            count += 1
            continue
        for member, size in _unpack(origin, name, folder, limits, left, limits.most_files - count):
            left, count = left - size, count + 1
            if member.endswith(ENDING):
                raise Refused("a zip lies in a zip", where=name, to_do="unpack it and send its files")
    return folder


def _unpack(
    origin: Path, name: str, folder: Path, limits: Limits, left: int, most_files: int
) -> Iterator[tuple[str, int]]:
    """Write the files of one zip beside where it lay; yield each name and size."""
    try:
        with zipfile.ZipFile(origin) as envelope:
            members = [member for member in envelope.infolist() if not member.is_dir()]
            if len(members) > most_files:
                raise beyond(f"there are more than {limits.most_files:,} files", name, "most_files")
            for member in members:
                _refuse_strange(member, name)
                target = (Path(name).parent / member.filename).as_posix()
                with envelope.open(member) as file:
                    size = _copy(file, folder, target, min(limits.largest_file, left))
                left -= size
                yield target, size
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Refused("a zip is cut off or broken", where=name, to_do="ask the sender for it again") from error


def _refuse_strange(member: zipfile.ZipInfo, name: str) -> None:
    """Names are plain before anything is written under them; a locked file or a link is no file that can be read."""
    if not all(PLAIN_NAME.fullmatch(part) for part in member.filename.split("/")):
        raise Refused("a file name in a zip is not plain", where=name, to_do="use letters, digits, . _ - and blanks")
    if member.flag_bits & 0x1:
        raise Refused("a zip is locked by a password", where=name, to_do="ask the sender for it without one")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise Refused("a link or special file in a zip is not taken", where=name, to_do="send plain files")


def _copy(file: IO[bytes], folder: Path, name: str, most: int) -> int:
    """Write one file, stopping at so many bytes, whatever its size was said to be; return its size."""
    target = folder / name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    size = 0
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Refused(
            "the extract holds a file twice, or in a zip and beside it", where=name, to_do="give it once"
        ) from error
    with os.fdopen(descriptor, "wb") as writer:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise beyond("files come to more than they may", name, "largest_file or largest_unpacked")
            writer.write(chunk)
    return size
