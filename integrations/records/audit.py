"""One chain of everything that was decided: it only grows, and each entry seals all before it."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, text

from integrations.records.schema import audit

GENESIS = "0" * 64  # what the first entry follows
HASH = re.compile("[0-9a-f]{64}")
NEW_HEAD = "audit head of this transaction"  # where append() leaves it, for Records to keep once it is committed


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One decision as it was written."""

    seq: int
    at: datetime
    kind: str
    body: Mapping[str, Any]
    signer: str | None
    signature: str | None
    previous_hash: str
    hash: str


@dataclass(frozen=True)
class Anchor:
    """The end of the chain at some moment, kept elsewhere, so that a chain cut short later is found."""

    seq: int  # 0: not known, or before the first entry
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def read(cls, text: str) -> "Anchor":
        """Read NUMBER:HASH, or a hash alone; what is neither becomes a hash that no entry has."""
        number, colon, sealed = text.strip().partition(":")
        return cls(int(number), sealed) if colon and number.isdecimal() else cls(0, text.strip())


def hold(connection: Connection) -> None:
    """Let nobody else append until this transaction ends: what is read of the chain now is still so when we append."""
    if connection.dialect.name == "postgresql":  # SQLite: Records.begin() has done it
        connection.execute(text("lock table audit in exclusive mode"))


def append(
    connection: Connection,
    *,
    kind: str,
    body: Mapping[str, Any],
    at: datetime,
    signer: str | None = None,
    signature: str | None = None,
) -> int:
    """Add one entry within the caller's transaction and return its number. Raises ValueError on a half signature."""
    if (signer is None) != (signature is None):
        raise ValueError("an entry has a signer and a signature, or neither")
    hold(connection)
    last = head(connection)
    seq, sealed = last.seq + 1, canonical(body)
    new = Anchor(seq, _hash(last.hash, seq, at, kind, sealed, signer, signature))
    connection.execute(
        insert(audit).values(
            seq=seq,
            at=at,
            kind=kind,
            body=sealed,
            signer=signer,
            signature=signature,
            previous_hash=last.hash,
            hash=new.hash,
        )
    )
    connection.info[NEW_HEAD] = new
    return seq


def head(connection: Connection) -> Anchor:
    """The last entry's number and hash; 0 and GENESIS while the chain is empty."""
    row = connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
    return Anchor(row.seq, row.hash) if row else Anchor(0, GENESIS)


def entries(connection: Connection, *kinds: str) -> Iterator[Entry]:
    """The entries of these kinds (of all kinds when none is named), oldest first."""
    query = select(audit).order_by(audit.c.seq)
    rows = connection.execute(
        query.where(audit.c.kind.in_(kinds)) if kinds else query, execution_options={"yield_per": 1000}
    )
    for row in rows:
        yield Entry(**{**row._asdict(), "body": json.loads(row.body)})


def signed_text(kind: str, body: Mapping[str, Any], at: datetime) -> bytes:
    """What a person signs: the decision and its moment, so that a signature fits nowhere else."""
    return canonical({"kind": kind, "at": _moment(at), "body": body}).encode()


def canonical(value: object) -> str:
    """JSON with one spelling only: sorted names, no blanks, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def row_hash(row: Row[Any]) -> str:
    """What the hash of a stored entry must be, by its own fields."""
    return _hash(row.previous_hash, row.seq, row.at, row.kind, row.body, row.signer, row.signature)


def _hash(previous_hash: str, seq: int, at: datetime, *rest: str | None) -> str:
    return hashlib.sha256((previous_hash + canonical([seq, _moment(at), *rest])).encode()).hexdigest()


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
