"""Where a server is, who we are there and whom we trust: the part of settings that a feed is fetched by."""

import base64
import ipaddress
import logging
import ssl
from pathlib import Path
from typing import Self

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from integrations.errors import EnvironmentFault, WrongUsage


class Endpoint(BaseModel):
    """One server, under `endpoints` of settings.yaml.

    client_id: as the server registered us (SMART Backend Services); without it no token is asked for. private_key_file:
    PEM or JWK, RSA or EC P-384; without it a key is made at first use in ROUNDS_HOME/secrets. token_url: only where the
    server does not name it itself. user and password, or bearer_token: for a server that knows us by these, as most
    PACS do. client_certificate_file and client_key_file: where the server asks who connects.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    client_id: str = ""
    private_key_file: Path | None = None
    key_id: str = ""
    jwks_url: str = ""
    token_url: str = ""
    scope: str = "system/*.read"
    group_id: str = ""
    user: str = ""
    password: SecretStr | None = None
    bearer_token: SecretStr | None = None
    ca_file: Path | None = None
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None

    @model_validator(mode="after")
    def _addresses_are_safe(self) -> Self:
        if (self.user != "") != (self.password is not None) or ":" in self.user:
            raise ValueError("user and password belong together, and a user's name holds no colon")
        if [bool(self.client_id), bool(self.user), self.bearer_token is not None].count(True) > 1:
            raise ValueError("client_id, user and bearer_token: the server knows us by one of them")
        if self.bearer_token and not is_word(self.bearer_token.get_secret_value()):
            raise ValueError("bearer_token is no word that can stand in a header")
        for name in ("base_url", "token_url"):
            if text := getattr(self, name):
                try:
                    safe_address(text, has_secret=self.has_secret)
                except WrongUsage as error:
                    raise ValueError(f"{name}: {error.what}") from None
        return self

    @property
    def has_secret(self) -> bool:
        """Whether a token or a password goes to the server."""
        return bool(self.client_id or self.authorization)

    @property
    def authorization(self) -> str:
        """What stands in each request of a server that knows us by a password or by one token; else nothing."""
        if self.bearer_token:
            return f"Bearer {self.bearer_token.get_secret_value()}"
        if self.user and self.password:
            word = f"{self.user}:{self.password.get_secret_value()}".encode()
            return f"Basic {base64.b64encode(word).decode()}"
        return ""


def is_word(token: object) -> bool:
    """Whether it can stand in a header."""
    return isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token and token != ""


def safe_address(text: str, *, has_secret: bool) -> httpx.URL:
    """Read an address that ends in a slash. Raises WrongUsage when it is none, or a secret would go unencrypted."""
    try:
        url = httpx.URL(text.rstrip("/") + "/")
    except httpx.InvalidURL:
        raise WrongUsage("it is no address", to_do="write https://HOST/fhir") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise WrongUsage("it is not an http address", to_do="write https://HOST/fhir")
    if url.userinfo or url.query or url.fragment:
        raise WrongUsage("it holds more than scheme, host, port and path", to_do="write https://HOST/fhir")
    if has_secret and url.scheme == "http" and not is_loopback(url.host):
        raise WrongUsage("a token would travel unencrypted", where=text, to_do="give an https address")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_client(endpoint: Endpoint, *, timeout: float = 60) -> httpx.Client:
    """Open the connection: no redirects, which would take token and patient elsewhere, and no proxy of the environment.

    Raises EnvironmentFault when a certificate or key cannot be read.
    """
    try:
        trust = ssl.create_default_context(cafile=endpoint.ca_file)
        if endpoint.client_certificate_file:
            trust.load_cert_chain(endpoint.client_certificate_file, endpoint.client_key_file)
    except (OSError, ssl.SSLError) as error:
        raise EnvironmentFault(
            f"a certificate cannot be read: {type(error).__name__}",
            where=str(endpoint.client_certificate_file or endpoint.ca_file),
            to_do="check ca_file, client_certificate_file and client_key_file of the endpoint",
        ) from None
    for name in ("httpx", "httpcore"):  # they would log each address, with what it is signed by and whom it names
        logging.getLogger(name).setLevel(logging.WARNING)
    return httpx.Client(verify=trust, timeout=timeout, follow_redirects=False, trust_env=False)
