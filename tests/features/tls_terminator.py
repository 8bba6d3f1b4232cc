"""TLS before a server that speaks none, as a hospital's proxy does it; with certificates of an authority of its own."""

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # Postgres: a client that wants TLS asks for it first
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificates:
    """The files of an authority, and of a server that it has vouched for."""

    authority: Path
    server: Path


def make_certificates(folder: Path) -> Certificates:
    """An authority of its own that vouches for localhost."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made = Certificates(folder / "authority.pem", folder / "server.pem")
    made.authority.write_bytes(text)
    made.server.write_bytes(secret + text)
    return made


class TlsTerminator:
    """Takes TLS on loopback, and passes on what it is told in the clear."""

    def __init__(self, known: Certificates, to: str | tuple[str, int], *, asks_first: bool = False) -> None:
        self.to, self.asks_first = to, asks_first
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(known.server)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._take, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):  # closed: nobody is taken any more
            while True:
                taken, _ = self.listening.accept()
                threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        if self.asks_first:
            asked = taken.recv(len(SSL_REQUEST), socket.MSG_WAITALL)
            taken.sendall(b"S" if asked == SSL_REQUEST else b"N")
        with contextlib.suppress(OSError):  # the client turned away from our certificate, or went
            client = self.context.wrap_socket(taken, server_side=True)
            server = socket.socket(socket.AF_UNIX if isinstance(self.to, str) else socket.AF_INET)
            server.connect(self.to)
            threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
            _pass_on(client, server)


def _pass_on(said_by: socket.socket, told: socket.socket) -> None:
    with contextlib.suppress(OSError), said_by, told:
        while said := said_by.recv(65536):
            told.sendall(said)
        told.shutdown(socket.SHUT_RDWR)
