"""Where a feed is listened to: the part of settings for `rounds listen`."""

import ipaddress
import ssl
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from integrations.errors import EnvironmentFault


class Address(BaseModel):
    """One listener, under `listeners` of settings.yaml.

    certificate_file and key_file: ours, for TLS. client_ca_file: who must have signed the certificate of a sender;
    senders: which MSH-3|MSH-4 each certificate, by its name, may speak for. TLS goes with all four. is_unencrypted:
    results may travel in the clear beyond this machine. seal_seconds: so often what was heard is handed to the ingest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(2575, ge=0, le=65_535)
    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    senders: dict[str, tuple[str, ...]] = {}
    is_unencrypted: bool = False
    seal_seconds: float = Field(60, gt=0)

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if bool(self.senders) != (self.client_ca_file is not None):
            raise ValueError("client_ca_file and senders go together: which certificate may speak for whom")
        if self.client_ca_file and not self.certificate_file:
            raise ValueError("client_ca_file needs certificate_file: certificates are shown over TLS")
        if self.certificate_file and not self.client_ca_file:
            raise ValueError(
                "certificate_file needs client_ca_file and senders: under TLS each sender is bound to its own"
            )
        if not (self.certificate_file or self.is_unencrypted or _is_loopback(self.host)):
            raise ValueError("results would travel unencrypted: give certificate_file, or say is_unencrypted: true")
        return self

    @property
    def allowed(self) -> dict[str, frozenset[str]] | None:
        """The senders by certificate; null without TLS."""
        return {name: frozenset(senders) for name, senders in self.senders.items()} if self.client_ca_file else None

    def context(self) -> ssl.SSLContext | None:
        """How connections are encrypted; null where they are not. Raises EnvironmentFault for a file it cannot read."""
        if self.certificate_file is None:
            return None
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate_file, self.key_file)
            if self.client_ca_file:
                context.load_verify_locations(self.client_ca_file)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError):
            raise EnvironmentFault(
                "a certificate of the listener cannot be read",
                where="settings.yaml: listeners",
                to_do="check certificate_file, key_file and client_ca_file",
            ) from None
        return context


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
