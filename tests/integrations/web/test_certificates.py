"""Servers that ask who connects: a client certificate, and a hospital's own authority."""

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from integrations.errors import EnvironmentFault
from integrations.web.endpoint import Endpoint, open_client


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


class Authority:
    """A hospital's own authority, and what it has certified."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._certified("authority", self.key, is_authority=True)
        self.file = folder / "authority.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(self._certified(name, key).public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        private.write_bytes(key.private_bytes(*form))
        return certificate, private

    def _certified(self, name: str, key: Any, is_authority: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())


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
