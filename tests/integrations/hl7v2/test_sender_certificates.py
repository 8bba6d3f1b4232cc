"""Who may speak to a listener: a sender is bound to its certificate, and nobody is heard without TLS where it is on."""

import socket
import ssl
from contextlib import contextmanager, suppress

import pytest

from integrations.hl7v2.address import Address
from integrations.hl7v2.listener import Bounds
from tests.integrations.hl7v2.conftest import contract
from tests.integrations.hl7v2.listening import SECONDS, Sender, kept, listening, message
from tests.integrations.web.authority import Authority


@contextmanager
def under_tls(landing, authority, bounds=None):
    """A listener that asks for certificates of the authority; yields its port."""
    certificate, key = authority.issue("server")
    address = Address(
        certificate_file=certificate,
        key_file=key,
        client_ca_file=authority.file,
        senders={"lis.example.org": ("LIS|LAB",)},
    )
    with listening(contract(), landing, bounds=bounds, tls=address.context(), senders=address.allowed) as port:
        yield port


def client(authority, name, issuer):
    """A sender's TLS: it trusts the authority, and shows a certificate of the issuer."""
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(*issuer.issue(name))
    return context


@pytest.mark.parametrize(
    ("name", "speaks_for", "code"),
    [("lis.example.org", "LIS|LAB", "AA"), ("lis.example.org", "OTHER|LAB", "AR"), ("unknown", "LIS|LAB", "AR")],
)
def test_a_sender_speaks_only_for_what_its_certificate_stands_for(tmp_path, name, speaks_for, code):
    authority = Authority(tmp_path)
    with under_tls(tmp_path, authority) as port, Sender(port, client(authority, name, authority)) as sender:
        assert sender.send(message("7", sender=speaks_for))[1] == code
    assert kept(tmp_path) == (["7"] if code == "AA" else [])


def test_a_certificate_of_another_authority_opens_nothing(tmp_path):
    authority, other = Authority(tmp_path), Authority(folder(tmp_path / "other"))
    refused = (ssl.SSLError, ConnectionError)
    with under_tls(tmp_path, authority) as port, pytest.raises(refused):
        speak(port, client(authority, "lis.example.org", other))
    assert kept(tmp_path) == []


def test_a_sender_without_tls_is_not_heard(tmp_path):
    with under_tls(tmp_path, Authority(tmp_path)) as port, pytest.raises((ConnectionError, TimeoutError)):
        speak(port)
    assert kept(tmp_path) == []


def test_who_never_shakes_hands_is_let_go_while_good_senders_are_served(tmp_path):
    authority = Authority(tmp_path)
    with under_tls(tmp_path, authority, Bounds(message_seconds=1)) as port:
        silent = [socket.create_connection(("127.0.0.1", port), timeout=SECONDS) for _ in range(50)]
        with Sender(port, client(authority, "lis.example.org", authority)) as good:
            assert good.send(message("7"))[1] == "AA"
        for connection in silent:
            with suppress(ConnectionError):
                assert connection.recv(1) == b""
            connection.close()
    assert kept(tmp_path) == ["7"]


def speak(port, tls=None):
    """Connect and send one message."""
    with Sender(port, tls) as sender:
        sender.socket.settimeout(5)
        sender.send(message("7"))


def folder(path):
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"host": "10.0.0.1"}, "unencrypted"),
        ({"certificate_file": "a.pem"}, "go together"),
        ({"senders": {"a": ["LIS|LAB"]}}, "go together"),
        ({"client_ca_file": "a.pem", "senders": {"a": ["LIS|LAB"]}}, "needs certificate_file"),
        ({"certificate_file": "a.pem", "key_file": "a.key"}, "needs client_ca_file"),
    ],
)
def test_settings_that_would_leave_the_door_open_are_refused(said, wrong):
    with pytest.raises(ValueError, match=wrong):
        Address.model_validate(said)
    assert Address.model_validate({"host": "10.0.0.1", "is_unencrypted": True}).context() is None
