"""Bulk Data Access: start an export, wait for it, fetch its files, and let the server forget them."""

import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from integrations.errors import EnvironmentFault, Refused, RoundsError
from integrations.fhir.export.download import LinkExpired, download
from integrations.fhir.export.manifest import LARGEST_LINK, PARTS, Link, Manifest, read_manifest
from integrations.fhir.export.state import Desk, State
from integrations.fhir.export.wanted import Wanted
from integrations.limits import Limits, beyond
from integrations.web.ask import Answer, Server, objects
from integrations.web.origin import origin, resolved
from integrations.web.patience import retry_after

ROUNDS_OF_LINKS = 3  # how often links that ran out are asked for again
EXPORTS = 3  # how often an export that the server has lost is started again
MOST_FAULTS = 5  # commands that may end while the server is away, until the export is started again
MOST_PAGES = 1_000
GROWTH = 1.5


class ExportLost(Exception):
    """The server does not know the export any more."""


@dataclass(frozen=True, kw_only=True)
class BulkExport:
    """One export of one server, with its desk and the limits of the contract."""

    server: Server
    wanted: Wanted
    desk: Desk
    limits: Limits

    def fetch(self) -> Manifest:
        """Bring all files to the desk and return the manifest they came by; what is there already stays.

        Raises Refused when the server will not have it, EnvironmentFault when it stays away.
        """
        asked = self.wanted.kick_off(self.server.base)
        state = self.desk.open(str(asked))
        if state.is_done:
            return self._manifest(state)
        for _ in range(EXPORTS):
            try:
                state = state if state.status_url else self._kick_off(asked, state)
                return self._fetch(state)
            except ExportLost:
                state = self.desk.begin(str(asked))
            except Refused:  # what the server has made will not do: the next command asks for a new one
                self._let_go(self.desk.open(str(asked)))
                self.desk.begin(str(asked))
                raise
            except EnvironmentFault:
                self._note_fault(str(asked))
                raise
        raise Refused(
            f"the server lost the export {EXPORTS} times", where=origin(asked), to_do="tell the server's keeper"
        )

    def _kick_off(self, asked: httpx.URL, state: State) -> State:
        answer = self.server.ask("GET", asked, headers={"Prefer": "respond-async"})
        if answer.status != 202 or "Content-Location" not in answer.headers:
            raise _will_not(answer, asked, "start an export")
        place = resolved(asked, answer.headers["Content-Location"])
        return self.desk.keep(state, status_url=str(place))

    def _fetch(self, state: State) -> Manifest:
        state = state if state.pages else self._when_ready(state)
        for _ in range(ROUNDS_OF_LINKS):
            manifest = self._manifest(state)
            expired = self._fetch_files(manifest)
            if not expired:
                self.desk.keep(state, is_done=True)
                self._let_go(state)
                return manifest
            state = self._with_new_links(state, manifest, expired)
        raise ExportLost

    def _let_go(self, state: State) -> None:
        """Let the server delete what we have; one that cannot, deletes it in its own time."""
        if state.status_url:
            with suppress(RoundsError):
                self.server.ask("DELETE", httpx.URL(state.status_url))

    def _note_fault(self, asked: str) -> None:
        """A server that is away is waited for; an export at which command after command ends is given up."""
        state = self.desk.open(asked)
        if state.faults + 1 < MOST_FAULTS:
            self.desk.keep(state, faults=state.faults + 1)
        else:
            self.desk.begin(asked)

    def _manifest(self, state: State) -> Manifest:
        return read_manifest(state.pages, httpx.URL(state.status_url), self.limits.most_files)

    def _fetch_files(self, manifest: Manifest) -> list[LinkExpired]:
        """Fetch what is missing, some files side by side, and return those whose link had run out.

        The first error of another kind stops the rest.
        """

        def one(link: Link) -> LinkExpired | None:
            try:
                download(self.server, link, self.desk.files, with_token=manifest.needs_token, limits=self.limits)
            except LinkExpired as expired:
                return expired
            return None

        missing = [link for link in manifest.links if not self._has(link)]
        pool = ThreadPoolExecutor(self.wanted.export.parallel, thread_name_prefix="export")
        try:
            started = [pool.submit(one, link) for link in missing]
            wait(started, return_when=FIRST_EXCEPTION)
            found = [each.result() for each in started if each.done()]
        finally:
            pool.shutdown(cancel_futures=True)
        return [each for each in found if each]

    def _has(self, link: Link) -> bool:
        return any((self.desk.files / name).exists() for name in (link.name, f"{link.name}.gz"))

    def _with_new_links(self, state: State, before: Manifest, expired: list[LinkExpired]) -> State:
        """Ask for the manifest again, which brings new links. Raises ExportLost when it speaks of other files.

        Raises Refused where a link is still the one that the server refused: no try will pass.
        """
        again = self._when_ready(state)
        manifest = self._manifest(again)
        if not manifest.is_of_same_export(before):
            raise ExportLost
        urls = {link.name: link.url for link in manifest.links}
        for each in expired:
            if urls[each.link.name] == each.link.url:
                raise Refused(
                    f"the server refuses a file of its export with {each.status}",
                    where=f"{origin(each.link.url)}, {each.link.name}",
                    to_do="check the rights that the server grants our client_id",
                )
        return again

    def _when_ready(self, state: State) -> State:
        """Wait for the manifest and keep it."""
        status_url = httpx.URL(state.status_url)
        pages = [self._polled(status_url).json()]
        while following := _next(pages[-1]):
            pages.append(self._following_page(resolved(status_url, following)))
            if sum(len(objects(each.get("output"))) for each in pages) > self.limits.most_files:
                break
            if len(pages) > MOST_PAGES:
                raise beyond(f"the manifest has more than {MOST_PAGES:,} pages", origin(status_url), "most_files")
        read_manifest(pages, status_url, self.limits.most_files)  # one that cannot be read is not kept
        return self.desk.keep(state, pages=pages)

    def _following_page(self, url: httpx.URL) -> dict[str, Any]:
        """One more page of a manifest. Raises Refused when it is none: what it names would be lost."""
        answer = self._ask_manifest(url)
        if answer.status != 200 or not any(isinstance(answer.json().get(part), list) for part in PARTS):
            raise _will_not(answer, url, "give the next page of its manifest")
        return answer.json()

    def _polled(self, status_url: httpx.URL) -> Answer:
        """Ask until the export is ready, as slowly as the server says."""
        patience = self.server.patience
        wait, ends = patience.first_wait, time.monotonic() + patience.whole_export.total_seconds()
        while (answer := self._ask_manifest(status_url)).status == 202:
            pause = (retry_after(answer.headers) or wait).total_seconds()
            if time.monotonic() + pause > ends:
                raise EnvironmentFault(
                    f"the export is not ready after {patience.whole_export}",
                    where=origin(status_url),
                    to_do="run the command again: it waits on for the same export",
                )
            time.sleep(pause)
            wait = min(timedelta(seconds=wait.total_seconds() * GROWTH), patience.longest_wait)
        return answer

    def _ask_manifest(self, url: httpx.URL) -> Answer:
        answer = self.server.ask(
            "GET", url, headers={"Accept": "application/json"}, largest_body=self.limits.most_files * LARGEST_LINK
        )
        if answer.status in (404, 410):
            raise ExportLost
        if answer.status not in (200, 202):
            raise _will_not(answer, url, "tell of its export")
        return answer


def _next(page: dict[str, object]) -> object:
    """The link to the next page of a manifest that comes in several."""
    return next((link.get("url") for link in objects(page.get("link")) if link.get("relation") == "next"), None)


def _will_not(answer: Answer, url: httpx.URL, what: str) -> Refused:
    return Refused(
        f"the server will not {what}: {answer.status}{answer.issues}",
        where=origin(url),
        to_do="check the endpoint's client_id and scope, and whether its CapabilityStatement knows this export",
    )
