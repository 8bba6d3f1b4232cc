"""The synthetic hospital's FHIR server: SMART Backend Services, bulk export, paged search, and bad days on demand.

It listens on the loopback of this machine only. The demo fetches its EHR extracts from it, and the tests ask it as
their peer. It keeps no state but in memory: a restart forgets jobs, tokens and links, as real servers do.
"""

import gzip
import io
import secrets
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import urlencode

import orjson

from integrations.synthetic_hospital.ehr_faults import Faults, Kind, no_faults
from integrations.synthetic_hospital.ehr_shelf import LONG_AGO, Shelf
from integrations.synthetic_hospital.ehr_tokens import TokenDesk


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of a job: a file of the shelf, or what the server writes itself."""

    part: str
    kind: str
    count: int
    path: Path | None = None
    content: bytes = b""


@dataclass(kw_only=True)
class Job:
    """One export: what it holds was fixed when it was asked for."""

    transaction_time: datetime
    request: str
    parts: list[Part]
    polls: int = 0
    link_word: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(kw_only=True)
class EhrServer:
    """The server, until the end of its block.

    now: the hospital's time, moved on by whoever plays it. jwks: the public keys of its one client; without them nobody
    needs a token. polls: how often an export is not ready yet. is_packed: files come with gzip as their content coding.
    says_total: a search says how many it found. has_validators: files have an ETag, so that a range of them can be
    asked for.
    """

    shelf: Shelf
    now: datetime
    jwks: dict[str, Any] | None = None
    client_id: str = "rounds"
    faults: Faults = no_faults
    polls: int = 1
    is_packed: bool = False
    has_validators: bool = True
    has_bulk: bool = True
    says_total: bool = True
    files_need_token: bool = True
    token_life_s: int = 300
    page_size: int = 1_000
    errors: list[dict[str, Any]] = field(default_factory=list)  # OperationOutcomes that each export ends with

    def __post_init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.deleted_jobs: list[str] = []
        self.asked: Counter[str] = Counter()  # requests by kind, those that a fault met too
        self.headers: list[tuple[str, str]] = []  # what was asked for by GET, and how
        self._lock = threading.Lock()
        self._http: ThreadingHTTPServer | None = None
        self.tokens = TokenDesk(self.client_id, self.jwks, self.token_life_s)

    def __enter__(self) -> Self:
        from integrations.synthetic_hospital.ehr_http import Handler

        handler = type("EhrHandler", (Handler,), {"ehr": self})
        self._http = _Listener(("127.0.0.1", 0), handler)
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._http:
            self._http.shutdown()
            self._http.server_close()

    @property
    def origin(self) -> str:
        """Where it listens."""
        port = self._http.server_address[1] if self._http else 0
        return f"http://127.0.0.1:{port}"

    @property
    def base_url(self) -> str:
        """The FHIR base."""
        return f"{self.origin}/fhir"

    @property
    def token_url(self) -> str:
        """Where tokens are given."""
        return f"{self.origin}/token"

    def job_url(self, job_id: str) -> str:
        """Where an export is asked for how far it is."""
        return f"{self.base_url}/jobs/{job_id}"

    def page_url(self, kind: str, query: dict[str, object]) -> str:
        """Where a page of a search is."""
        return f"{self.base_url}/{kind}?{urlencode(query)}"

    def file_url(self, job_id: str, number: int) -> str:
        """Where a file of an export is, until its link runs out."""
        return f"{self.base_url}/files/{job_id}/{number}?word={self.jobs[job_id].link_word}"

    @property
    def paths(self) -> list[str]:
        """What was asked for by GET."""
        return [path for path, _ in self.headers]

    def number_of(self, kind: Kind) -> int:
        """Count a request, and say which of its kind it is."""
        with self._lock:
            self.asked[kind] += 1
            return self.asked[kind] - 1

    def restart(self) -> None:
        """Forget what a process keeps in memory."""
        self.jobs.clear()
        self.tokens.forget()

    def expire_links(self) -> None:
        """Make the links given out so far worth nothing; the next manifest has others."""
        for job in self.jobs.values():
            job.link_word = secrets.token_hex(4)

    def kick_off(self, request: str, since: datetime | None, kinds: list[str]) -> str:
        """Start an export and return its id."""
        begin, now = since or LONG_AGO, self.now
        parts = [
            Part(part="output", kind=file.kind, count=file.count, path=file.path)
            for file in self.shelf.files(begin, now, kinds)
        ]
        if since and (urls := self.shelf.deleted(begin, now, kinds)):
            body = b"".join(_line(deletion_bundle(url)) for url in urls)
            parts.append(Part(part="deleted", kind="Bundle", count=len(urls), content=body))
        if self.errors:
            said = b"".join(_line(each) for each in self.errors)
            parts.append(Part(part="error", kind="OperationOutcome", count=len(self.errors), content=said))
        job_id = secrets.token_hex(6)
        self.jobs[job_id] = Job(transaction_time=now, request=request, parts=parts)
        return job_id

    def manifest(self, job_id: str) -> dict[str, Any]:
        """What a ready export consists of."""
        job = self.jobs[job_id]
        listed: dict[str, list[dict[str, Any]]] = {"output": [], "deleted": [], "error": []}
        for number, part in enumerate(job.parts):
            listed[part.part].append({"type": part.kind, "url": self.file_url(job_id, number), "count": part.count})
        return {
            "transactionTime": job.transaction_time.isoformat().replace("+00:00", "Z"),
            "request": job.request,
            "requiresAccessToken": self.jwks is not None and self.files_need_token,
            **listed,
        }

    def opened(self, job_id: str, number: int) -> BinaryIO:
        """One file as it goes over the wire; the same bytes each time."""
        part = self.jobs[job_id].parts[number]
        if part.path and not self.is_packed:
            return part.path.open("rb")
        plain = part.path.read_bytes() if part.path else part.content
        return io.BytesIO(gzip.compress(plain, compresslevel=1, mtime=0) if self.is_packed else plain)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone: it may have been told to."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def deletion_bundle(url: str) -> dict[str, Any]:
    """How a bulk export tells of one deletion."""
    entry = {"request": {"method": "DELETE", "url": url}}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}


def _line(resource: dict[str, Any]) -> bytes:
    return orjson.dumps(resource) + b"\n"
