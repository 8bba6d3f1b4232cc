"""From a feed's server to a folder that an ingest takes: export or search, then the manifest that goes with it."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from integrations.durable import sync_folder, write_whole
from integrations.errors import Refused
from integrations.fhir.export.bulk import BulkExport
from integrations.fhir.export.manifest import PARTS, Link, Manifest
from integrations.fhir.export.outcomes import serious_count
from integrations.fhir.export.search import SearchExport
from integrations.fhir.export.state import Desk
from integrations.fhir.export.wanted import Wanted, instant
from integrations.full_disk import full_disk_is_a_fault
from integrations.landing import MANIFEST
from integrations.limits import DEFAULT_LIMITS, Limits
from integrations.web.ask import Server


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """An export on disk. `serious`: what the server says it could not give; then the next export asks for it again."""

    folder: Path
    file_count: int
    byte_count: int
    serious: int
    fetched_until: datetime


@contextmanager
def desk_of(source: str, exports: Path) -> Iterator[Desk]:
    """The folder of a feed's export, for one process at a time. Raises Refused when another one has it."""
    exports.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = exports / f"{source}.lock"
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Desk(exports / source)
    except BlockingIOError:
        raise Refused(f"another process fetches {source}", where=str(lock), to_do="wait until it is done") from None
    finally:
        os.close(descriptor)


def fetch(wanted: Wanted, server: Server, desk: Desk, limits: Limits = DEFAULT_LIMITS) -> Fetched:
    """Bring one export to the desk, whole, with the manifest that landing holds it against.

    What an earlier process brought of the same export stays. Raises Refused and EnvironmentFault; then what has come
    stays for the next time.
    """
    export: BulkExport | SearchExport
    if wanted.export.method == "bulk":
        export = BulkExport(server=server, wanted=wanted, desk=desk, limits=limits)
    else:
        export = SearchExport(server=server, wanted=wanted, desk=desk, limits=limits)
    with full_disk_is_a_fault(desk.folder):
        manifest = export.fetch()
        sync_folder(desk.files)
        return _with_manifest(desk.files, manifest, wanted, wanted.digest(server.base))


def _with_manifest(folder: Path, manifest: Manifest, wanted: Wanted, asked: str) -> Fetched:
    files: dict[Link, Path] = {link: _place(folder, link) for link in manifest.links}
    for path in set(folder.iterdir()) - set(files.values()):
        path.unlink()  # a process that was killed left it half written
    errors = [path for link, path in files.items() if link.part == "error"]
    serious = manifest.serious + sum(map(serious_count, errors))
    said: dict[str, object] = {
        part: [_entry(link, path) for link, path in files.items() if link.part == part] for part in PARTS
    }
    said |= {
        "transactionTime": manifest.transaction_time,
        "since": instant(wanted.since) if wanted.since else None,
        "is_complete": not serious,
        "asked": asked,
        "files": [{"name": path.name, "sha256": _sha256(path)} for path in files.values()],
    }
    write_whole(folder / MANIFEST, orjson.dumps(said, option=orjson.OPT_INDENT_2))
    return Fetched(
        folder=folder,
        file_count=len(files),
        byte_count=sum(path.stat().st_size for path in files.values()),
        serious=serious,
        fetched_until=manifest.fetched_until,
    )


def _place(folder: Path, link: Link) -> Path:
    plain = folder / link.name
    return plain if plain.exists() else folder / f"{link.name}.gz"


def _entry(link: Link, path: Path) -> dict[str, object]:
    kind = {"type": link.name.split(".")[0]} if link.part == "output" else {}
    return {**kind, "url": path.name, **({"count": link.count} if link.count is not None else {})}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
