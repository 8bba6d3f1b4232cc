"""Paged search by `_lastUpdated`, for servers without a bulk export: the same files, the same manifest.

After each page its resources are on disk, and the place of the next one is kept: whoever goes on, goes on there. A page
that comes twice in a row is taken once. What was deleted is asked of the history of a type, where the server keeps one.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import numpy as np

from integrations.errors import Refused
from integrations.fhir.export.manifest import Link, Manifest, Part
from integrations.fhir.export.outcomes import is_serious
from integrations.fhir.export.pages import NoBundle, Page, deletion, read_page
from integrations.fhir.export.state import Desk, State
from integrations.fhir.export.wanted import Wanted, instant
from integrations.limits import Limits, beyond
from integrations.web.ask import Answer, Server, objects
from integrations.web.origin import origin, resolved
from integrations.web.patience import NotNow

STARTS = 3  # how often the pages of a type are begun again, when the server lost its place or skipped some
DELETED = "deleted."


class PlaceLost(Exception):
    """The server does not know the next page any more, goes in a circle, or gave fewer resources than it said."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """How far the pages of one type have come: `size` and `count` of what is on disk, and where the next page is.

    total: the most that the server ever said there are; when something is deleted meanwhile, pages skip others.
    serious: what it says that it could not give. A later page that is `marker` again is a circle; the marker moves on
    after 1, 2, 4, 8 ... pages.
    """

    next_url: str
    size: int = 0
    count: int = 0
    total: int | None = None
    last_digest: str = ""
    page_count: int = 0
    marker: str = ""
    serious: int = 0
    is_done: bool = False


@dataclass(frozen=True, kw_only=True)
class SearchExport:
    """All types of the contract, one after the other."""

    server: Server
    wanted: Wanted
    desk: Desk
    limits: Limits

    def fetch(self) -> Manifest:
        """Bring all types to the desk and return the manifest. Raises Refused, and EnvironmentFault."""
        state = self.desk.open(self._asked)
        if not state.pages:
            state = self.desk.keep(state, pages=[self._capabilities()])
        [opened] = state.pages
        for kind in self.wanted.export.types:
            for number, url in enumerate(self._search_urls(kind)):
                state = self._all_pages(state, f"{kind}.{number:03d}", kind, url)
        for kind in opened["with_history"] if self.wanted.since else ():
            state = self._all_pages(state, f"{DELETED}{kind}.000", kind, self._history_url(kind))
        self.desk.keep(state, is_done=True)
        links = [
            Link(part=_part(name), name=_file(name), url=self.server.base, count=place["count"])
            for name, place in state.search.items()
        ]
        return Manifest(
            transaction_time=opened["transactionTime"],
            needs_token=True,
            links=tuple(links),
            serious=sum(place["serious"] for place in state.search.values()),
        )

    @property
    def _asked(self) -> str:
        since = instant(self.wanted.since) if self.wanted.since else "the beginning"
        return f"{self.server.base} {self.wanted.export.types} {self.wanted.export.type_filters} since {since}"

    def _capabilities(self) -> dict[str, Any]:
        """The server's time before the first page, and of which types it keeps a history."""
        answer = capabilities(self.server)
        return {
            "transactionTime": instant(_server_time(answer, self.server.base)),
            "with_history": [kind for kind in self.wanted.export.types if can(answer.json(), kind, "history-type")],
        }

    def _search_urls(self, kind: str) -> list[httpx.URL]:
        """The first page of a type; where the contract filters it, of each of its filters: what any of them finds."""
        asked = [("_count", str(self.wanted.export.page_size))]
        if self.wanted.since:
            asked.append(("_lastUpdated", f"ge{instant(self.wanted.since)}"))
        queries = [
            query
            for name, _, query in (each.partition("?") for each in self.wanted.export.type_filters)
            if name == kind
        ]
        return [
            self.server.base.join(kind).copy_with(params=httpx.QueryParams([*asked, *parse_qsl(query)]))
            for query in queries or [""]
        ]

    def _history_url(self, kind: str) -> httpx.URL:
        since = instant(self.wanted.since) if self.wanted.since else ""
        asked = {"_since": since, "_count": str(self.wanted.export.page_size)}
        return self.server.base.join(f"{kind}/_history").copy_merge_params(asked)

    def _all_pages(self, state: State, name: str, kind: str, first: httpx.URL) -> State:
        begun = asdict(Place(next_url=str(first)))
        for _ in range(STARTS):
            try:
                while not (place := Place(**state.search.get(name, begun))).is_done:
                    now = self._one_page(name, place)
                    state = self.desk.keep(state, search={**state.search, name: asdict(now)})
                return state
            except PlaceLost:
                state = self.desk.keep(state, search={**state.search, name: begun})
        raise Refused(
            f"the server gave {STARTS} times fewer {kind} than it said, or lost the next page",
            where=origin(first),
            to_do="run the command again when the server is quiet, or ask for smaller pages (page_size)",
        )

    def _one_page(self, name: str, place: Place) -> Place:
        url = httpx.URL(place.next_url)
        page = self.server.patiently(lambda: self._page(url))
        lines = _deletions(page) if _part(name) == "deleted" else resources_of(page)
        digest = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
        lines = [] if lines and digest == place.last_digest else lines
        following = str(resolved(url, page.next_url)) if page.next_url else ""
        if following and following in (place.marker, place.next_url):
            raise PlaceLost
        page_count = place.page_count + 1
        now = replace(
            place,
            next_url=following,
            size=self._append(self.desk.files / _file(name), place.size, lines),
            count=place.count + len(lines),
            total=max(place.total or 0, page.total) if page.total is not None else place.total,
            serious=place.serious + _serious_count(page),
            last_digest=digest,
            page_count=page_count,
            marker=place.next_url if page_count & (page_count - 1) == 0 else place.marker,
            is_done=not following,
        )
        if now.is_done and _part(name) == "output" and self._is_short(name, now):
            raise PlaceLost
        return now

    def _page(self, url: httpx.URL) -> Page:
        """Ask for one page. Raises NotNow when it is no Bundle: it may have been cut."""
        answer = self.server.once("GET", url)
        if answer.status in (404, 410):
            raise PlaceLost
        if answer.status != 200:
            raise Refused(
                f"the server will not be searched: {answer.status}{answer.issues}",
                where=origin(url),
                to_do="check the endpoint's scope, and whether the CapabilityStatement knows this search",
            )
        try:
            return read_page(answer.content)
        except NoBundle:
            raise NotNow("a page of its search cannot be read") from None

    def _append(self, path: Path, size: int, lines: list[str]) -> int:
        """Write lines after the first `size` bytes, and return how many there are then."""
        written = "".join(f"{line}\n" for line in lines).encode()
        if size + len(written) > self.limits.largest_file:
            raise beyond("a file of the export is larger than it may be", path.name, "largest_file")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.truncate(size)
            file.seek(size)
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        return size + len(written)

    def _is_short(self, name: str, place: Place) -> bool:
        """Whether fewer resources came than the server said there are: pages move when something changes meanwhile."""
        if place.total is None:
            return False
        with (self.desk.files / _file(name)).open("rb") as file:
            ids = np.fromiter((hash(_id(line)) for line in file), np.int64, place.count)
        return len(np.unique(ids)) < place.total


def capabilities(server: Server) -> Answer:
    """Return the answer that holds the CapabilityStatement. Raises Refused when there is none."""
    answer = server.ask("GET", server.base.join("metadata"))
    if answer.status != 200 or answer.json().get("resourceType") != "CapabilityStatement":
        raise Refused(
            f"the server does not say what it can: {answer.status}{answer.issues}",
            where=origin(server.base),
            to_do="check base_url of the endpoint",
        )
    return answer


def can(statement: dict[str, Any], kind: str, interaction: str) -> bool:
    """Whether a CapabilityStatement names an interaction with resources of a type."""
    found = [each for each in resources_named(statement) if each.get("type") == kind]
    return any(way.get("code") == interaction for each in found for way in objects(each.get("interaction")))


def resources_named(statement: dict[str, Any]) -> list[dict[str, Any]]:
    """What a CapabilityStatement says of each type of resource."""
    return [each for rest in objects(statement.get("rest")) for each in objects(rest.get("resource"))]


def _server_time(answer: Answer, base: httpx.URL) -> datetime:
    try:
        return parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(
            "the server does not say what time it is, so nobody knows from when to ask next",
            where=origin(base),
            to_do="have a proxy in between leave the Date header",
        ) from None


def _part(name: str) -> Part:
    return "deleted" if name.startswith(DELETED) else "output"


def _file(name: str) -> str:
    return f"{name}.ndjson"


def resources_of(page: Page) -> list[str]:
    """The resources of a page; an OperationOutcome among them is about the search, and no one's."""
    return [each.text for each in page.entries if each.text and each.kind != "OperationOutcome"]


def _deletions(page: Page) -> list[str]:
    deleted = [each.request_url for each in page.entries if each.method == "DELETE"]
    return [json.dumps(deletion(url)) for url in deleted]


def _id(line: bytes) -> str:
    """What tells a resource from others of its type; of one that cannot be read, all of it."""
    try:
        return str(json.loads(line)["id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return str(line)


def _serious_count(page: Page) -> int:
    """How many entries tell of something that the search could not give."""
    return sum(is_serious(each.text.encode()) for each in page.entries if each.kind == "OperationOutcome")
