"""The names of the files of an extract: which there are, which are plain, and how an error says which one it means."""

import re
from itertools import islice
from pathlib import Path

from integrations.errors import Refused
from integrations.limits import beyond
from integrations.litter import is_litter

# Letters, digits and a few signs: no pattern sign that a reader could take for more than one file.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+,@ -]*")


def names_in(path: Path, most: int, *, any_name: bool = False) -> list[str]:
    """The files under `path`, relative, in order, without what an operating system left there by itself.

    Links and what is no plain file are refused, not skipped; so are names that are not plain, unless any_name.
    """
    names = [name for name in _every_name(path, most) if not is_litter(name)]
    if not any_name and not all(PLAIN_NAME.fullmatch(part) for name in names for part in name.split("/")):
        raise Refused("a file name is not plain", where=str(path), to_do="use letters, digits, . _ - and blanks")
    return names


def litter_count(path: Path, most: int) -> int:
    """How many files under `path` an operating system left there by itself."""
    return sum(map(is_litter, _every_name(path, most)))


def place_of(number: int, count: int) -> str:
    """Say which file of an extract is meant without its name, which may be that of a patient or a stay."""
    return f"file {number:,} of {count:,} by name"


def _every_name(path: Path, most: int) -> list[str]:
    if path.is_symlink():
        raise Refused("the extract is a link", where=str(path), to_do="give the folder or file itself")
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = list(islice(path.rglob("*"), most + 1))
    else:
        raise Refused("there is no such file or folder", where=str(path), to_do="check --from")
    if len(found) > most:
        raise beyond(f"there are more than {most:,} files and folders", str(path), "most_files")
    found = sorted(item for item in found if item.is_symlink() or not item.is_dir())
    base = path.parent if path.is_file() else path
    if any(item.is_symlink() or not item.is_file() for item in found):
        raise Refused("a link or special file is not taken", where=str(base), to_do="send plain files")
    return [item.relative_to(base).as_posix() for item in found]
