"""What `--anchor` may be: a head as it was printed, a file that holds one, or an archive of `rounds backup`."""

import json
import tarfile
from pathlib import Path

from integrations.backup import MANIFEST
from integrations.errors import WrongUsage
from integrations.records.audit import HASH, Anchor


def read_anchor(given: str) -> Anchor:
    """Read the end that the audit chain once had. Raises WrongUsage for what holds none."""
    path = Path(given)
    if not path.is_file():
        found = Anchor.read(given)
    elif tarfile.is_tarfile(path):
        found = _of_backup(path)
    else:
        found = Anchor.read(path.read_text(encoding="utf-8", errors="replace"))
    if not HASH.fullmatch(found.hash):
        raise WrongUsage(
            f"{given} is neither the head of an audit chain nor a file that holds one",
            where="--anchor",
            to_do="give NUMBER:HASH as rounds audit verify printed it, or an archive of rounds backup",
        )
    return found


def _of_backup(archive: Path) -> Anchor:
    try:
        with tarfile.open(archive, "r:") as tar:
            source = tar.extractfile(MANIFEST)
            end = json.load(source)["audit"] if source else {}
        return Anchor(int(end["seq"]), str(end["hash"]))
    except (tarfile.TarError, ValueError, KeyError, TypeError):
        raise WrongUsage("this is not a backup of Rounds", where=str(archive)) from None
