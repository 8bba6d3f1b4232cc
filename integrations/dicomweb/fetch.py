"""From a PACS to a folder that an ingest takes: pages of studies, filtered as they come, then the manifest.

After each page its studies are on disk, and the place of the next one is kept: whoever goes on, goes on there.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from integrations.dicomweb.needed import needed_study
from integrations.dicomweb.pacs import Pacs
from integrations.dicomweb.wanted import WantedStudies
from integrations.durable import sync_folder, write_whole
from integrations.errors import Refused
from integrations.fhir.export.fetch import Fetched
from integrations.fhir.export.state import Desk, State
from integrations.full_disk import full_disk_is_a_fault
from integrations.landing import MANIFEST, sha256_of
from integrations.limits import Limits, beyond
from integrations.web.ask import Server
from integrations.web.origin import origin

FILE = "studies.000.ndjson"
STUDIES = "studies"
STALE = timedelta(days=1)  # a fetch that lay for so long is begun anew: other studies stand at its place by now
SIDE_BY_SIDE = 4  # studies whose series are asked for at once


@dataclass(frozen=True, kw_only=True)
class Place:
    """How far the pages have come: `size` and `count` of what is on disk, and where the next page begins."""

    offset: int = 0
    size: int = 0
    count: int = 0
    last_digest: str = ""
    is_done: bool = False


def fetch_studies(wanted: WantedStudies, server: Server, desk: Desk, limits: Limits, *, at: datetime) -> Fetched:
    """Bring the studies to the desk, with the manifest that landing holds them against; `at` is the time now.

    What an earlier process brought of the same fetch stays. Raises Refused and EnvironmentFault; then what has come
    stays for the next time.
    """
    asked = f"{server.base} {wanted.digest(server.base)} since {wanted.since or 'the beginning'}"
    with full_disk_is_a_fault(desk.folder):
        state = _opened(desk, asked, at)
        pacs = Pacs(server=server, wanted=wanted, limits=limits)
        while not (place := Place(**state.search.get(STUDIES, {}))).is_done:
            place = _one_page(pacs, place, desk)
            state = desk.keep(state, search={STUDIES: asdict(place)})
        sync_folder(desk.files)
        return _with_manifest(desk, state, wanted, server)


def _opened(desk: Desk, asked: str, at: datetime) -> State:
    """The fetch that goes on, or a new one that begins now."""
    state = desk.open(asked)
    if state.pages and at - _begun_at(state) > STALE:
        state = desk.begin(asked)
    return state if state.pages else desk.keep(state, pages=[{"begun_at": at.astimezone(UTC).isoformat()}])


def _begun_at(state: State) -> datetime:
    return datetime.fromisoformat(state.pages[0]["begun_at"])


def _one_page(pacs: Pacs, place: Place, desk: Desk) -> Place:
    studies = pacs.studies(place.offset)
    digest = hashlib.sha256(orjson.dumps(studies)).hexdigest() if studies else ""
    if digest and digest == place.last_digest:
        raise Refused(
            "the PACS gives the same page again, whatever offset it is asked for",
            where=origin(pacs.server.base),
            to_do="tell its keeper: QIDO-RS without offset cannot be read to its end",
        )
    lines = [needed_study(study, pacs.wanted.tags, series) for study, series in _with_series(pacs, studies)]
    return Place(
        offset=place.offset + len(studies),
        size=_append(desk, place.size, lines, pacs.limits),
        count=place.count + len(lines),
        last_digest=digest,
        is_done=not studies,
    )


def _with_series(pacs: Pacs, studies: Sequence[Any]) -> Iterator[tuple[Any, list[Any] | None]]:
    """Each study with its series, some asked for side by side; the first error stops the rest."""
    pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="series")
    try:
        yield from zip(studies, pool.map(pacs.series_of, studies), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _append(desk: Desk, size: int, lines: Sequence[bytes], limits: Limits) -> int:
    """Write lines after the first `size` bytes, and return how many there are then."""
    written = b"".join(line + b"\n" for line in lines)
    if size + len(written) > limits.largest_file:
        raise beyond("the studies come to more than one file may", FILE, "largest_file")
    with os.fdopen(os.open(desk.files / FILE, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(written)
        file.flush()
        os.fsync(file.fileno())
    return size + len(written)


def _with_manifest(desk: Desk, state: State, wanted: WantedStudies, server: Server) -> Fetched:
    path, begun_at = desk.files / FILE, _begun_at(state)
    said = {
        "transactionTime": begun_at.isoformat(),
        "since": str(wanted.since) if wanted.since else None,
        "is_complete": True,
        "asked": wanted.digest(server.base),
        "files": [{"name": FILE, "sha256": sha256_of(path)}],
    }
    write_whole(desk.files / MANIFEST, orjson.dumps(said, option=orjson.OPT_INDENT_2))
    return Fetched(folder=desk.files, file_count=1, byte_count=path.stat().st_size, serious=0, fetched_until=begun_at)
