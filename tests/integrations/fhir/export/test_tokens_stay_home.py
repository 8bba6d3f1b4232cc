"""The token of one server is never sent to another: a listener writes down all that reaches it, and looks for ours.

Names that only look like the server's lead to the listener too: the resolver is made to say so.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from integrations.errors import RoundsError
from integrations.synthetic_hospital.ehr_faults import Fault
from integrations.synthetic_hospital.ehr_server import EhrServer
from integrations.web.ask import Server
from tests.integrations.fhir.export.conftest import House, MakeEhr

# How a link may look that leads to the listener {l} (a port), beside the server's own port {o}.
LEADS_AWAY = {
    "another port": "http://127.0.0.1:{l}/x",
    "another name of this machine": "http://localhost:{l}/x",
    "the same port, another name": "http://localhost:{o}/x",
    "capitals": "HTTP://127.0.0.1:{l}/x",
    "a user name that looks like the server": "http://127.0.0.1:{o}@127.0.0.1:{l}/x",
    "a user name and password": "http://127.0.0.1:pw@localhost:{l}/x",
    "an escaped at sign": "http://127.0.0.1:{o}%40localhost:{l}/x",
    "a backslash before the at sign": "http://127.0.0.1:{o}\\@localhost:{l}/x",
    "backslashes for slashes": "http:\\\\localhost:{l}\\x",
    "no scheme": "//localhost:{l}/x",
    "three slashes": "http:///localhost:{l}/x",
    "the server in the query": "http://localhost:{l}?@127.0.0.1:{o}/x",
    "the server in the fragment": "http://localhost:{l}#@127.0.0.1:{o}/x",
    "a short number for the address": "http://127.1:{l}/x",
    "a decimal number for the address": "http://2130706433:{l}/x",
    "a hexadecimal number for the address": "http://0x7f000001:{l}/x",
    "an address of version 6": "http://[::ffff:127.0.0.1]:{l}/x",
    "the server as a prefix": "http://127.0.0.1.evil.example:{o}/x",
    "the server as a prefix without a dot": "http://127.0.0.1evil.example:{o}/x",
    "the server as a suffix": "http://evil.127.0.0.1.example:{o}/x",
    "letters that look like others": "http://ｌocalhost.example:{o}/x",
    "a line break": "http://127.0.0.1:{o}/x\r\nHost: localhost:{l}",
    "a tabulator": "http://127.0.0.1\t.evil.example:{o}/x",
    "a file of this machine": "file:///etc/hostname",
}
REDIRECTS = (301, 302, 303, 307, 308)
PLACES = ("content_location", "file", "next_page", "next_manifest")


@dataclass
class Listener:
    """Whatever reaches it, byte for byte as headers and body say it."""

    port: int = 0
    heard: list[str] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    heard = Listener()

    class Ear(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            heard.heard.append(f"{self.requestline}\n{self.headers}\n{body!r}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_DELETE = do_GET

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    heard.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield heard
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def every_other_name_leads_to_the_listener(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def lead(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        is_own = name == "127.0.0.1"
        return resolve("127.0.0.1", port if is_own else listener.port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lead)


class Misleading(EhrServer):
    """A server that at one place gives a link of somebody else's making."""

    place: str = ""
    link: str = ""

    def job_url(self, job_id: str) -> str:
        return self.link if self.place == "content_location" else super().job_url(job_id)

    def page_url(self, kind: str, query: dict[str, object]) -> str:
        return self.link if self.place == "next_page" else super().page_url(kind, query)

    def file_url(self, job_id: str, number: int) -> str:
        return self.link if self.place == "file" and number == 1 else super().file_url(job_id, number)

    def manifest(self, job_id: str) -> dict[str, Any]:
        following = [{"relation": "next", "url": self.link}] if self.place == "next_manifest" else []
        return super().manifest(job_id) | {"link": following}


MakeMisleading = Callable[..., Misleading]


@pytest.fixture
def make_misleading(make_ehr: MakeEhr, listener: Listener) -> Iterator[MakeMisleading]:
    with ExitStack() as opened:

        def make(place: str, link: str, **options: Any) -> Misleading:
            honest = make_ehr()
            ehr = Misleading(shelf=honest.shelf, now=honest.now, jwks=honest.jwks, polls=0, **options)
            opened.enter_context(ehr)
            ehr.place = place
            ehr.link = link.format(l=listener.port, o=ehr.origin.rsplit(":", 1)[-1])
            return ehr

        yield make


def secrets_in(heard: list[str], ehr: EhrServer) -> list[str]:
    """What of ours the listener has: a token that the server gave, or any word that claims to be one."""
    known = [*ehr.tokens.given, "authorization:", "bearer ", "client_assertion"]
    return [word for text in heard for word in known if word.lower() in text.lower()]


def try_to_mislead(house: House, ehr: Misleading) -> str:
    """Fetch; return what it ended with."""
    method = "search" if ehr.place == "next_page" else "bulk"
    try:
        house.fetch(ehr, method=method, page_size=20)
    except RoundsError as error:
        return str(error)
    return "fetched"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("trick", LEADS_AWAY)
def test_a_link_that_leads_away_gets_no_token(
    house: House, make_misleading: MakeMisleading, listener: Listener, place: str, trick: str
) -> None:
    ehr = make_misleading(place, LEADS_AWAY[trick])
    said = try_to_mislead(house, ehr)
    assert said != "fetched"
    assert not re.search(r"word=|:pw", said)
    assert ehr.tokens.given  # we have a token that could have gone astray
    assert listener.heard == []


@pytest.mark.parametrize("kind", ["kick_off", "status", "file", "page", "discovery", "token", "metadata"])
@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_not_followed(
    house: House, make_misleading: MakeMisleading, listener: Listener, kind: str, status: int
) -> None:
    away = f"http://localhost:{listener.port}/x"
    ehr = make_misleading(
        "", "", faults=lambda asked, _: Fault(what="redirect", status=status, to=away) if asked == kind else None
    )
    method = "search" if kind in ("page", "metadata") else "bulk"
    with pytest.raises(RoundsError, match=f"{status}"):
        house.fetch(ehr, method=method)
    assert 1 <= ehr.asked[kind] <= 7  # seven files, each asked for once
    assert listener.heard == []


def test_where_files_need_no_token_none_goes_to_anybody_not_even_to_the_server(
    house: House, make_misleading: MakeMisleading, listener: Listener
) -> None:
    ehr = make_misleading("file", "http://localhost:{l}/signed?word=x", files_need_token=False)
    try_to_mislead(house, ehr)
    assert len(listener.heard) >= 1
    assert secrets_in(listener.heard, ehr) == []
    assert [headers for path, headers in ehr.headers if "/files/" in path and "authorization" in headers.lower()] == []


def test_a_token_address_elsewhere_gets_a_word_that_is_worth_nothing_to_the_server(
    house: House, make_misleading: MakeMisleading, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    ehr = make_misleading("", "")
    monkeypatch.setattr(type(ehr), "token_url", f"http://localhost:{listener.port}/token")
    with pytest.raises(RoundsError, match="gives us no token"):
        house.fetch(ehr)
    [heard] = listener.heard
    word = heard.split("client_assertion=")[1].split("'")[0]
    answer = httpx.post(
        f"{ehr.origin}/token",
        data={"grant_type": "client_credentials", "scope": "system/*.read", "client_assertion": word},
    )
    assert (answer.status_code, ehr.tokens.refusals) == (400, ["aud"])


@pytest.mark.parametrize("place", PLACES)
def test_the_listener_would_hear_a_client_that_trusts_every_link(
    house: House,
    make_misleading: MakeMisleading,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    monkeypatch.setattr(Server, "_token_for", lambda self, _url: self.tokens.current())
    ehr = make_misleading(place, "http://localhost:{l}/x")
    try_to_mislead(house, ehr)
    assert secrets_in(listener.heard, ehr)
