"""Something between us and the PACS that has bad days: it refuses, cuts, garbles, repeats, or points elsewhere."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Kind = str  # studies or series
Plan = Callable[[Kind, int], "Bad | None"]


@dataclass(frozen=True)
class Bad:
    """What one request meets. at: the byte at which the answer is cut. body: what is said instead of the answer."""

    what: str  # refuse, cut, say, redirect
    status: int = 503
    at: int = 0
    body: bytes = b""
    to: str = ""


@dataclass
class Front:
    """A server before the PACS at `behind`, or alone; `plan` says what the n-th request of a kind meets.

    said: what the PACS answered to each path; where it is handed in, these are said again and the PACS is not asked.
    more: what the PACS is asked beside what we asked.
    """

    behind: str
    plan: Plan = lambda _kind, _number: None
    port: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    paths: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    reached: Counter[str] = field(default_factory=Counter)
    said: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    more: str = ""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"


@contextmanager
def in_front(
    behind: str = "",
    plan: Plan = lambda _kind, _number: None,
    said: dict[str, tuple[int, bytes]] | None = None,
) -> Iterator[Front]:
    """Open one until the end of the block."""
    front, lock = Front(behind.removesuffix("/dicom-web"), plan, said={} if said is None else said), threading.Lock()
    client = httpx.Client(trust_env=False, timeout=30)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            kind = "series" if "/series" in self.path else "studies"
            with lock:
                number = front.asked[kind]
                front.asked[kind] += 1
                front.paths.append(self.path)
                front.words.append(self.headers.get("Authorization", ""))
            bad = front.plan(kind, number)
            if bad:
                with lock:
                    front.reached[f"{kind} {bad.what}"] += 1
            self.close_connection = True
            if bad and bad.what == "redirect":
                self._say(302, b"", {"Location": bad.to})
            elif bad and bad.what == "refuse":
                self._say(bad.status, b"")
            elif bad and bad.what == "say":
                self._say(bad.status, bad.body)
            else:
                status, content = self._passed_on()
                self._say(status, content, cut=bad.at if bad else None)

        def _passed_on(self) -> tuple[int, bytes]:
            if self.path in front.said:
                return front.said[self.path]
            headers = {name: text for name, text in self.headers.items() if name in ("Authorization", "Accept")}
            answer = client.get(f"{front.behind}{self.path}{front.more}", headers=headers)
            front.said[self.path] = answer.status_code, answer.content
            return front.said[self.path]

        def _say(self, status: int, body: bytes, more: dict[str, str] | None = None, cut: int | None = None) -> None:
            try:
                self.send_response(status)
                for name, text in {"Content-Length": str(len(body)), **(more or {})}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(body if cut is None else body[: min(cut, len(body) - 1)])
            except (BrokenPipeError, ConnectionResetError):
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    front.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        client.close()
