"""Servers that ask who connects: a client certificate, and a hospital's own authority."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from integrations.errors import EnvironmentFault
from integrations.web.endpoint import Endpoint, open_client
from tests.integrations.web.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def address(authority: Authority) -> Iterator[str]:
    """A server that lets in only whom the authority knows."""

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_the_certificate_in_settings_opens_the_door(authority: Authority, address: str) -> None:
    certificate, key = authority.issue("rounds")
    ours = Endpoint(base_url=address, ca_file=authority.file, client_certificate_file=certificate, client_key_file=key)
    with open_client(ours) as client:
        assert client.get(address).status_code == 204


def test_without_a_certificate_the_door_stays_shut(authority: Authority, address: str) -> None:
    with open_client(Endpoint(base_url=address, ca_file=authority.file)) as client, pytest.raises(httpx.TransportError):
        client.get(address)


def test_a_server_that_no_authority_of_ours_knows_is_not_trusted(authority: Authority, address: str) -> None:
    certificate, key = authority.issue("rounds")
    ours = Endpoint(base_url=address, client_certificate_file=certificate, client_key_file=key)
    with open_client(ours) as client, pytest.raises(httpx.ConnectError, match="certificate"):
        client.get(address)


def test_a_certificate_that_cannot_be_read_says_which(tmp_path: Path) -> None:
    ours = Endpoint(base_url="https://ehr.example.org", client_certificate_file=tmp_path / "gone.pem")
    with pytest.raises(EnvironmentFault, match=r"a certificate cannot be read[\s\S]*gone.pem"):
        open_client(ours)


def test_the_environment_names_no_proxy_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    with open_client(Endpoint(base_url="https://ehr.example.org")) as client:
        assert not client.trust_env
        assert not [mount for mount in client._mounts.values() if mount is not None]
