"""A zip that somebody brings is an envelope: the files in it are taken as if their folder had been brought."""

import os
import re
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from integrations.errors import Refused
from integrations.limits import Limits, beyond
from integrations.litter import is_litter
from integrations.names import PLAIN_NAME, names_in, place_of
from integrations.sent import CHUNK

ENDING = ".zip"
STRANGE_SIGN = re.compile(r"[^A-Za-z0-9_.=+,@ -]")


def without_envelopes(path: Path, folder: Path, limits: Limits, *, any_name: bool = False) -> tuple[Path, int]:
    """Return `path` where it holds no zip; else `folder`, with every file as it is and those of a zip where it lay.

    Also returns how many files of the zips were left aside, see litter.py. any_name: a name that is not plain gives way
    to one that is, and a second file of one name lies in a folder of its own; else both are refused.

    Raises Refused for a zip that is broken, locked, or holds what is no plain file or a name that is there already, and
    for what is more than the limits allow.
    """
    names = names_in(path, limits.most_files, any_name=any_name)
    if not any(is_zip(name) for name in names) and all(plain(name) == name for name in names):
        return path, 0
    folder.mkdir(mode=0o700)
    taking = _Taking(folder=folder, limits=limits, any_name=any_name, left=limits.largest_unpacked)
    for number, name in enumerate(names, 1):
        taking.place = place_of(number, len(names))
        origin = path if path.is_file() else path / name
        if is_zip(name):
            taking.unpack(origin, name)
        else:
            with origin.open("rb") as file:
                taking.copy(file, name, limits.largest_file)
    return folder, taking.litter_count


def is_zip(name: str) -> bool:
    """Whether a file is a zip, by its name."""
    return name.lower().endswith(ENDING)


def plain(name: str) -> str:
    """Put `_` for every sign of a name that is not plain, and before one that begins with such a sign."""
    parts = (STRANGE_SIGN.sub("_", part) for part in name.split("/"))
    return "/".join(part if PLAIN_NAME.fullmatch(part) else f"_{part}" for part in parts)


@dataclass(kw_only=True)
class _Taking:
    """The files that are being taken into a folder: how much may still come, and what was left aside."""

    folder: Path
    limits: Limits
    any_name: bool
    left: int  # bytes, unpacked
    count: int = 0
    litter_count: int = 0
    place: str = ""  # of the file or zip that is being taken, as an error calls it

    def unpack(self, origin: Path, name: str) -> None:
        """Write the files of one zip beside where it lay."""
        try:
            with zipfile.ZipFile(origin) as envelope:
                members = [member for member in envelope.infolist() if not member.is_dir()]
                if len(members) > self.limits.most_files - self.count:
                    raise beyond(f"there are more than {self.limits.most_files:,} files", self.place, "most_files")
                for member in members:
                    self._refuse_strange(member)
                    if is_litter(member.filename):
                        self.litter_count += 1
                        continue
                    target = (Path(name).parent / member.filename).as_posix()
                    with envelope.open(member) as file:
                        self.left -= self.copy(file, target, min(self.limits.largest_file, self.left))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise Refused(
                "a zip is cut off or broken", where=self.place, to_do="ask the sender for it again"
            ) from error

    def copy(self, file: IO[bytes], name: str, most: int) -> int:
        """Write one file, stopping at so many bytes, whatever its size was said to be; return its size."""
        self.count += 1
        size = 0
        with os.fdopen(self._open(plain(name) if self.any_name else name), "wb") as writer:
            while chunk := file.read(CHUNK):
                size += len(chunk)
                if size > most:
                    raise beyond("files come to more than they may", self.place, "largest_file or largest_unpacked")
                writer.write(chunk)
        return size

    def _open(self, name: str) -> int:
        """Open a new file of this name; a second one of it lies in a folder of its own, where any name is taken."""
        for target in (self.folder / name, self.folder / f"again-{self.count}" / name):
            try:
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                return os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except (FileExistsError, NotADirectoryError):  # a file of this name, or of that of a folder above it
                if not self.any_name:
                    break
        raise Refused(
            "the extract holds a file twice, or in a zip and beside it", where=self.place, to_do="give it once"
        )

    def _refuse_strange(self, member: zipfile.ZipInfo) -> None:
        """No name may lead out of the folder; a locked file or a link is no file that can be read."""
        parts = member.filename.split("/")
        is_plain = all(PLAIN_NAME.fullmatch(part) for part in parts)
        is_taken = (self.any_name or is_litter(member.filename)) and not {"", ".", ".."} & set(parts)
        if not is_plain and not is_taken:
            raise Refused(
                "a file name in a zip is not plain", where=self.place, to_do="use letters, digits, . _ - and blanks"
            )
        if is_zip(member.filename) and not is_litter(member.filename):
            raise Refused("a zip lies in a zip", where=self.place, to_do="unpack it and send its files")
        if member.flag_bits & 0x1:
            raise Refused("a zip is locked by a password", where=self.place, to_do="ask the sender for it without one")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise Refused("a link or special file in a zip is not taken", where=self.place, to_do="send plain files")
