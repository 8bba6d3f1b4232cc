"""A person's own key, and decisions that only that key can have signed."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from sqlalchemy import Connection, Row, select

from integrations.errors import NotInOrder, Refused, WrongUsage, did_you_mean
from integrations.records import audit
from integrations.records.audit_check import is_signed_by
from integrations.records.schema import person


@dataclass(frozen=True)
class Signer:
    """Somebody who holds a private key and says who they are."""

    name: str
    key: Ed25519PrivateKey = field(repr=False)

    @property
    def public_key(self) -> str:
        """The public half, 64 hex digits."""
        return self.key.public_key().public_bytes_raw().hex()


def load_signer(name: str, key_path: Path) -> Signer:
    """Read a person's private key (PEM, Ed25519). Whether it is theirs shows when they sign."""
    to_do = "give the file that `rounds people add` wrote for this person"
    try:
        key = load_pem_private_key(key_path.read_bytes(), password=None)
    except OSError as error:
        raise WrongUsage(f"the key cannot be read: {error.strerror}", where=str(key_path), to_do=to_do) from None
    except (ValueError, TypeError):
        raise WrongUsage("this file holds no private key without password", where=str(key_path), to_do=to_do) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise WrongUsage("this key is not of the kind Ed25519", where=str(key_path), to_do=to_do)
    return Signer(name, key)


@contextmanager
def written_key(path: Path, key: Ed25519PrivateKey) -> Iterator[None]:
    """Lay a new private key down for its owner alone (0600); take it away again if what follows fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        to_do = "choose a new file in a folder that exists"
        raise Refused(f"the key cannot be written: {error.strerror}", where=str(path), to_do=to_do) from None
    with ExitStack() as undo:
        undo.callback(path.unlink)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        yield
        undo.pop_all()


def sign_entry(
    connection: Connection,
    signer: Signer,
    *,
    kind: str,
    body: Mapping[str, Any],
    at: datetime,
    roles: Collection[str] | None = None,
) -> int:
    """Append a signed decision, return its number. Refused unless the signer is registered with this key and role."""
    row = connection.execute(select(person).where(person.c.name == signer.name)).first()
    if row is None:
        registered = present_people(connection)
        to_do = (
            did_you_mean(signer.name, registered) if registered else "rounds people add NAME --role R --key-out FILE"
        )
        raise Refused(f"{signer.name} is not registered", to_do=to_do)
    if row.removed_seq is not None:
        raise Refused(f"{signer.name} was removed by entry {row.removed_seq}")
    if row.public_key != signer.public_key:
        raise Refused(f"this is not the key of {signer.name}", to_do="sign with your own key")
    if roles is not None and row.role not in roles:
        raise Refused(f"{signer.name} has the role {row.role}, this needs {' or '.join(sorted(roles))}")
    signature = signer.key.sign(audit.signed_text(kind, body, at)).hex()
    return audit.append(connection, kind=kind, body=body, at=at, signer=signer.name, signature=signature)


def signed_entries(connection: Connection, *kinds: str, **about: str | int) -> list[audit.Entry]:
    """The decisions of these kinds about (use_case=..., version=...), oldest first, each signature checked.

    Raises NotInOrder at the first one that its signer cannot have written: another's key, a signature used before, or
    a time at which the signer was not registered.
    """
    people: dict[str | None, Row[Any]] = {row.name: row for row in connection.execute(select(person))}
    found = [
        entry
        for entry in audit.entries(connection, *kinds)
        if all(entry.body.get(name) == value for name, value in about.items())
    ]
    signatures: set[str | None] = set()
    for entry in found:
        signer = people.get(entry.signer)
        message = audit.signed_text(entry.kind, entry.body, entry.at)
        if signer is None or not is_signed_by(signer.public_key, entry.signature, message):
            raise _not_in_order(entry, "is not signed by a registered person")
        if not _is_present(signer, entry.seq):
            raise _not_in_order(entry, "is signed by somebody who was not registered at that time")
        if entry.signature in signatures:
            raise _not_in_order(entry, "carries a signature that was used before")
        signatures.add(entry.signature)
    return found


def present_people(connection: Connection) -> set[str]:
    """The names of those who are registered and not removed."""
    return set(connection.execute(select(person.c.name).where(person.c.removed_seq.is_(None))).scalars())


def people_at(connection: Connection, seq: int) -> set[str]:
    """The names of those who were registered, and not removed, when entry `seq` was written."""
    return {row.name for row in connection.execute(select(person)) if _is_present(row, seq)}


def _is_present(row: Row[Any], seq: int) -> bool:
    return bool(row.added_seq < seq and (row.removed_seq is None or seq < row.removed_seq))


def _not_in_order(entry: audit.Entry, what: str) -> NotInOrder:
    return NotInOrder(f"entry {entry.seq} ({entry.kind}) {what}", where="audit chain", to_do="rounds audit verify")


def checked_reason(reason: str) -> str:
    """A decision without a reason is none."""
    if not reason.strip():
        raise WrongUsage("a decision needs a reason", to_do='--reason "why"')
    return reason.strip()
