"""One file of an export: streamed to disk, gone on with where it broke, and whole or not there.

Bytes are kept as they are sent, packed ones too. A broken download goes on by a range request if the server gave a
validator that says whether the file is still the same; else, and whenever the range is not the one asked for, it starts
anew.
"""

import gzip
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson

from integrations.durable import write_whole
from integrations.errors import Refused
from integrations.fhir.export.manifest import Link
from integrations.limits import Limits, beyond
from integrations.sent import count_lines, json_depth
from integrations.web.ask import Server
from integrations.web.patience import NotNow

GONE = (401, 403, 404, 410)  # a link that has run out
PACKED = b"\x1f\x8b"
PIECE = 1 << 20
WHOLE_TRIES = 3  # how often a file that came whole, yet is not as it should be, is fetched again
NDJSON = "application/fhir+ndjson, application/ndjson, application/x-ndjson"


class LinkExpired(Exception):
    """The server does not give this file under this link any more."""

    def __init__(self, link: Link, status: int) -> None:
        self.link, self.status = link, status
        super().__init__(link.name)


class _NotWhole(Exception):
    """The file has come, yet not all of it, or not as the manifest says."""


@dataclass(frozen=True)
class _Begun:
    """What lies on disk of a file: how many bytes, and what tells whether the server's is still the same."""

    size: int = 0
    validator: str = ""


def download(server: Server, link: Link, folder: Path, *, with_token: bool, limits: Limits) -> Path:
    """Return the whole file in `folder`: `<name>`, or `<name>.gz` when it came packed.

    Raises LinkExpired, Refused when it is too large or stays broken, EnvironmentFault when the server stays away.
    """
    part = folder / f"{link.name}.part"
    for _ in range(WHOLE_TRIES):
        server.patiently(lambda: _goes_on(server, link, part, with_token, limits.largest_file))
        try:
            return _checked(part, link, folder / link.name, limits)
        except _NotWhole as error:
            reason = str(error)
            _drop(part)
        except Refused:
            _drop(part)
            raise
    raise Refused(
        f"a file of the export came {WHOLE_TRIES} times and was not whole: {reason}",
        where=link.name,
        to_do="run the command again, or tell the server's keeper",
    )


def _goes_on(server: Server, link: Link, part: Path, with_token: bool, largest: int) -> None:
    """Fetch what is missing. As long as more comes, patience begins anew with each break."""
    while True:
        before = _begun(part).size
        try:
            return _fetch(server, link, part, with_token, largest)
        except httpx.TransportError:
            if _begun(part).size <= before:
                raise


def _fetch(server: Server, link: Link, part: Path, with_token: bool, largest: int) -> None:
    begun = _begun(part)
    headers = {"Accept": NDJSON, "Accept-Encoding": "gzip"}
    if begun.size:
        headers |= {"Range": f"bytes={begun.size}-", "If-Range": begun.validator}
    with server.stream("GET", link.url, with_token=with_token, headers=headers) as response:
        if response.status_code in GONE:
            raise LinkExpired(link, response.status_code)
        start = _start(response, begun)
        if start is None:
            _drop(part)
            raise NotNow("it gives another part of a file than was asked for")
        if response.status_code not in (200, 206):
            raise Refused(
                f"the server refuses a file of the export with {response.status_code}",
                where=link.name,
                to_do="tell the server's keeper",
            )
        _append(response, part, start, largest)


def _start(response: httpx.Response, begun: _Begun) -> int | None:
    """At which byte the answer begins; null when it is none that fits what lies here."""
    if response.status_code == 206:
        said = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        return begun.size if said and int(said[1]) == begun.size else None
    return None if response.status_code == 416 else 0


def _append(response: httpx.Response, part: Path, start: int, largest: int) -> None:
    if not start:
        _note_validator(part, response.headers)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.truncate(start)
        file.seek(start)
        try:
            for piece in response.iter_raw():  # as it comes, so that a break loses nothing
                if file.tell() + len(piece) > largest:
                    _drop(part)
                    raise beyond(f"a file of the export is larger than {largest:,} bytes", part.stem, "largest_file")
                file.write(piece)
        finally:
            file.flush()
            os.fsync(file.fileno())


def _note_validator(part: Path, headers: Mapping[str, str]) -> None:
    """Keep what If-Range may name: a strong ETag, for a time may stand for two versions."""
    etag = headers.get("ETag", "")
    write_whole(_validator_file(part), b"" if etag.startswith("W/") else etag.encode())


def _begun(part: Path) -> _Begun:
    try:
        validator = _validator_file(part).read_text()
        return _Begun(part.stat().st_size, validator) if validator else _Begun()
    except FileNotFoundError:
        return _Begun()


def _validator_file(part: Path) -> Path:
    return part.with_suffix(".validator")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _checked(part: Path, link: Link, target: Path, limits: Limits) -> Path:
    """Give a whole file its name. Raises _NotWhole when it is cut, or holds another number of lines than it should."""
    with part.open("rb") as file:
        is_packed = file.read(2) == PACKED
    _check_count(check_whole(part, limits, is_packed=is_packed), link)
    whole = target.with_name(f"{target.name}.gz") if is_packed else target
    part.rename(whole)
    _validator_file(part).unlink(missing_ok=True)
    return whole


def _check_count(count: int, link: Link) -> None:
    if link.count is not None and count != link.count:
        raise _NotWhole(f"it holds {count:,} records, the manifest says {link.count:,}")


def check_whole(path: Path, limits: Limits, *, is_packed: bool) -> int:
    """Count the lines that are not blank. Raises _NotWhole when a packed file or its last line is cut off.

    Raises Refused when a packed file comes to more than it may.
    """
    last_line = bytearray()
    try:
        count = count_lines(_pieces(path, limits, last_line, is_packed=is_packed))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise _NotWhole("a packed file is cut off or broken") from None
    # what is too long or too deep to be read here is judged when it is taken in
    line = bytes(last_line)
    if line.strip() and len(line) < limits.longest_line and json_depth(line) < limits.deepest_json:
        _check_line(line)
    return count


def _pieces(path: Path, limits: Limits, last_line: bytearray, *, is_packed: bool) -> Iterator[bytes]:
    """Yield the file, unpacked, and leave in `last_line` what comes after its last line end."""
    left = limits.largest_unpacked
    with gzip.open(path) if is_packed else path.open("rb") as file:
        while piece := file.read(PIECE):
            left -= len(piece) if is_packed else 0
            if left < 0:
                raise beyond("a packed file comes to more than it may", path.stem, "largest_unpacked")
            if (end := piece.rfind(b"\n")) >= 0:
                last_line[:] = piece[end + 1 :]
            elif len(last_line) < limits.longest_line:
                last_line += piece
            yield piece


def _check_line(line: bytes) -> None:
    """A last line without its end may be half a record."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        raise _NotWhole("its last line is cut off") from None
