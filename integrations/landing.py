"""What arrived, byte for byte: landing/<source>/<extract_id>/, with a manifest, written once and never changed.

An extract is copied beside its place first, under a name that starts with a dot. What does not hold against the
sender's own manifest, or is more than the limits of its contract allow, is refused there, and nothing has changed.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from integrations.errors import NotInOrder, Refused
from integrations.full_disk import full_disk_is_a_fault
from integrations.limits import DEFAULT_LIMITS, Limits, beyond
from integrations.names import names_in, place_of
from integrations.sent import CHUNK, MOST_VALUES, Unpacking, count_lines, json_depth, value_count

MANIFEST = "manifest.json"
LARGEST_MANIFEST, DEEPEST_MANIFEST = 16 << 20, 100  # bytes: room for 20,000 files, and the sender's within ours
ARRIVING = ".arriving-"


@dataclass(frozen=True, kw_only=True)
class LandedFile:
    """One file of an extract. `lines` are those that are not blank, after decompression."""

    name: str
    sha256: str
    bytes: int
    lines: int


@dataclass(frozen=True, kw_only=True)
class Landed:
    """One extract at rest."""

    source: str
    extract_id: str
    digest: str
    received_at: datetime
    folder: Path
    files: tuple[LandedFile, ...]
    fetched_until: datetime | None = None  # by the server's clock; null unless a complete bulk export
    asked: str = ""  # a hash of what the server was asked for; empty for files that were brought


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One extract that has been copied and checked, and has not got its place yet."""

    source: str
    digest: str
    folder: Path
    files: tuple[LandedFile, ...]
    sent_manifest: dict[str, Any] | None


@contextmanager
def arrival(source: str, path: Path, landing: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[Arrival]:
    """Copy a file or folder and check it; when it is not given a place, the copy is gone afterwards.

    Raises Refused when a file is cut off, differs from the sender's manifest, is a link, has no plain name, or when
    it is more than the limits allow.
    """
    home = landing / source
    _make_folders(home)
    for left_over in home.glob(f"{ARRIVING}*"):
        shutil.rmtree(left_over)
    folder = home / f"{ARRIVING}{uuid.uuid4().hex}"
    folder.mkdir(mode=0o700)
    try:
        names = names_in(path, limits.most_files)
        with full_disk_is_a_fault(landing):
            files = tuple(_copies(path, folder, [name for name in names if name != MANIFEST], limits))
        sent = sent_manifest(path) if MANIFEST in names else None
        if not files and sent is None:
            raise Refused("the extract holds no file", where=str(path), to_do="check what the sender wrote")
        _check(files, sent or {})
        yield Arrival(source=source, digest=_digest(files, sent or {}), folder=folder, files=files, sent_manifest=sent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settle(arrived: Arrival, received_at: datetime) -> Landed:
    """Give an arrival its place, manifest last; one that lies there already from before a crash is taken as it is."""
    moment = received_at.astimezone(UTC)
    extract_id = f"{arrived.source}-{moment:%Y%m%dT%H%M%SZ}-{arrived.digest[:8]}"
    place = arrived.folder.parent / extract_id
    if not place.exists():
        manifest = {
            "extract_id": extract_id,
            "source": arrived.source,
            "digest": arrived.digest,
            "received_at": moment.isoformat(),
            "requested_since": (arrived.sent_manifest or {}).get("since"),
            "sent_manifest": arrived.sent_manifest,
            "files": [asdict(file) for file in arrived.files],
        }
        _write(arrived.folder / MANIFEST, json.dumps(manifest, indent=1).encode())
        _sync_folders(arrived.folder)
        arrived.folder.rename(place)
        _sync(place.parent)
        _sync(place.parent.parent)
    return read_landed(place)


def drop_landed(folder: Path) -> None:
    """Remove an extract that was never committed: it was refused, or its bytes have landed again under another id."""
    shutil.rmtree(folder, ignore_errors=True)


def read_landed(folder: Path) -> Landed:
    """Read the manifest of an extract at rest. Raises NotInOrder when it is gone or broken."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return Landed(
            source=manifest["source"],
            extract_id=manifest["extract_id"],
            digest=manifest["digest"],
            received_at=datetime.fromisoformat(manifest["received_at"]),
            folder=folder,
            files=tuple(LandedFile(**file) for file in manifest["files"]),
            fetched_until=fetched_until(manifest["sent_manifest"] or {}),
            asked=str(_bulk_manifest(manifest["sent_manifest"] or {}).get("asked", "")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotInOrder(
            "the manifest of a landed extract cannot be read",
            where=str(folder),
            to_do="restore landing from the backup",
        ) from error


def fetched_until(sent: dict[str, Any]) -> datetime | None:
    """Up to when a sender's manifest of a bulk export speaks; null where it tells of things that it could not give."""
    bulk = _bulk_manifest(sent)
    if not bulk.get("is_complete", not bulk.get("error")):
        return None
    try:
        moment = datetime.fromisoformat(str(bulk.get("transactionTime")))
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _bulk_manifest(sent: dict[str, Any]) -> dict[str, Any]:
    """The manifest as it was sent first; that of an extract which landed before holds it."""
    return _bulk_manifest(sent["sent_manifest"] or {}) if "sent_manifest" in sent else sent


def sha256_of(path: Path) -> str:
    """The checksum of a file, as a manifest of landing has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copies(path: Path, folder: Path, names: list[str], limits: Limits) -> Iterator[LandedFile]:
    """Copy the files one by one; what packed ones come to is counted together."""
    left = limits.largest_unpacked
    for number, name in enumerate(names, 1):
        place = place_of(number, len(names))
        digest, size = _copy(path if path.is_file() else path / name, folder / name, place, limits.largest_file)
        reading = Unpacking(name, left, place)
        chunks = () if name.endswith(".parquet") else reading.chunks(folder / name)
        lines = count_lines(chunks)
        left = reading.left
        yield LandedFile(name=name, sha256=digest, bytes=size, lines=lines)


def _copy(origin: Path, target: Path, place: str, most: int) -> tuple[str, int]:
    """Copy a file, and return its sha256 and size. Stops at so many bytes, whatever its size was said to be."""
    _make_folders(target.parent)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with origin.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if size > most:
                raise beyond(f"a file is larger than {most:,} bytes", place, "largest_file")
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest(), size


def _make_folders(folder: Path) -> None:
    """Make a folder and what is missing above it, each closed to others."""
    if not folder.exists():
        _make_folders(folder.parent)
        folder.mkdir(mode=0o700)


def sent_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest that a sender has added. Raises Refused when it is too large or no JSON object."""
    with (path / MANIFEST).open("rb") as file:
        sent = file.read(LARGEST_MANIFEST + 1)
    is_small = len(sent) <= LARGEST_MANIFEST and value_count(sent) <= MOST_VALUES
    _expect(is_small, "", "the sender's manifest is too large")
    _expect(json_depth(sent) <= DEEPEST_MANIFEST, "", "the sender's manifest is nested too deep")
    try:
        manifest = json.loads(sent)
    except ValueError as error:
        raise Refused(
            "the sender's manifest is no JSON", where=MANIFEST, to_do="ask the sender for it again"
        ) from error
    if not isinstance(manifest, dict):
        raise Refused("the sender's manifest is no object", where=MANIFEST, to_do="ask the sender for it again")
    return manifest


def _check(files: tuple[LandedFile, ...], sent: dict[str, Any]) -> None:
    """Hold the files against the sender's manifest: of a FHIR bulk export (url, count) or ours (name, sha256)."""
    by_name = {file.name: file for file in files}
    for entry in (*_entries(sent, "output"), *_entries(sent, "deleted")):
        name = str(entry.get("url", "")).split("?")[0].rsplit("/", 1)[-1]
        _expect(name in by_name, name, "a file that the manifest names did not come")
        is_whole = "count" not in entry or entry["count"] == by_name[name].lines
        _expect(is_whole, name, "the file does not hold as many records as the manifest says")
    for entry in _entries(sent, "files"):
        name = str(entry.get("name", ""))
        _expect(name in by_name, name, "a file that the manifest names did not come")
        _expect(by_name[name].sha256 == entry.get("sha256"), name, "the checksum is not the one in the manifest")


def _entries(sent: dict[str, Any], part: str) -> list[dict[str, Any]]:
    entries = sent.get(part, [])
    is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    _expect(is_list, part, "the sender's manifest is not as FHIR or Rounds writes one")
    return list(entries)


def _expect(holds: bool, name: str, what: str) -> None:
    if not holds:
        raise Refused(
            what, where=f"{MANIFEST}: {name}" if name else MANIFEST, to_do="ask the sender for the extract again"
        )


def _digest(files: tuple[LandedFile, ...], sent: dict[str, Any]) -> str:
    """What an extract is known by: its bytes, and of a bulk export also when the server made it.

    The same bytes at another time may say something new: that what was withdrawn meanwhile is there again.
    """
    lines = "".join(f"{file.name}\0{file.sha256}\n" for file in files)
    return hashlib.sha256(f"{lines}{_bulk_manifest(sent).get('transactionTime', '')}".encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".writing")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _sync_folders(folder: Path) -> None:
    for item in folder.rglob("*"):
        if item.is_dir():
            _sync(item)
    _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
