"""Look whether anybody has changed, removed or forged an entry of the audit chain."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, Row, select

from integrations.records import audit
from integrations.records.audit import Anchor, Entry
from integrations.records.decision_check import (
    APPROVED,
    FINDING_RELEASED,
    ROLLED_BACK,
    STAGE_REQUESTED,
    STAGE_SET,
    Decisions,
)
from integrations.records.person_name import folded
from integrations.records.schema import audit as audit_table
from integrations.records.schema import finding as finding_table
from integrations.records.schema import person as person_table

PERSON_ADDED = "person_added"
PERSON_REMOVED = "person_removed"
MUST_BE_SIGNED = frozenset(
    {PERSON_ADDED, PERSON_REMOVED, APPROVED, ROLLED_BACK, STAGE_REQUESTED, STAGE_SET, FINDING_RELEASED}
)  # PERSON_ADDED: but for the first ones, whom the owner of the machine adds


@dataclass(frozen=True)
class Finding:
    """What is wrong, and at which entry."""

    seq: int
    what: str


@dataclass
class _Person:
    role: str
    public_key: str
    added_seq: int
    removed_seq: int | None = None


@dataclass
class _Walk:
    """What is known after the entries read so far."""

    last: Anchor
    unmet: set[str]  # hashes of anchors that no entry had
    people: dict[str, _Person] = field(default_factory=dict)
    signatures: set[str] = field(default_factory=set)
    released: dict[int, Entry] = field(default_factory=dict)  # findings of the watch, by the entry that says so

    @property
    def present(self) -> set[str]:
        return {name for name, person in self.people.items() if person.removed_seq is None}

    @property
    def has_governance(self) -> bool:
        return any(self.people[name].role == "governance" for name in self.present)


def verify(connection: Connection, *anchors: Anchor) -> list[Finding]:
    """All that is wrong with the chain, in order; an empty list when all is well.

    Finds a changed entry, a missing one, a signature that is not of the person registered at that time, a decision that
    needs two people and does not have them, a register of people or a release of a finding that differs from the chain
    and, given `anchors` kept elsewhere, an end that was cut off or rewritten.
    """
    walk, findings = _Walk(Anchor(0, audit.GENESIS), {anchor.hash for anchor in anchors}), list[Finding]()
    decisions = Decisions.of(connection)
    rows = connection.execute(select(audit_table).order_by(audit_table.c.seq), execution_options={"yield_per": 1000})
    for row in rows:
        findings += _check_link(row, walk.last)
        entry = Entry(**{**row._asdict(), "body": _body(row)})
        unsigned = list(_check_signature(entry, walk))
        findings += unsigned or [Finding(row.seq, what) for what in decisions.read(entry, walk.present)]
        findings += _note_people(entry, walk)
        if entry.kind == FINDING_RELEASED and not unsigned:
            walk.released[row.seq] = entry
        walk.last = Anchor(row.seq, row.hash)
        if any(row.seq == anchor.seq and row.hash != anchor.hash for anchor in anchors):
            findings.append(Finding(row.seq, "is not the entry that the anchor names"))
        walk.unmet.discard(row.hash)
    findings += _check_end(walk, anchors)
    return findings + list(_check_people(connection, walk)) + list(_check_releases(connection, walk))


def is_signed_by(public_key: str, signature: str | None, message: bytes) -> bool:
    """Whether this Ed25519 signature (hex) over the message was made with the private half of the key (hex)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature or ""), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_link(row: Row[Any], last: Anchor) -> Iterator[Finding]:
    if row.seq != last.seq + 1:
        yield Finding(last.seq + 1, f"entries {last.seq + 1} to {row.seq - 1} are missing")
    elif row.previous_hash != last.hash:
        yield Finding(row.seq, "does not follow the entry before it")
    if audit.row_hash(row) != row.hash:
        yield Finding(row.seq, "was changed after it was written")


def _check_end(walk: _Walk, anchors: Collection[Anchor]) -> Iterator[Finding]:
    end = walk.last.seq
    cut = max((anchor.seq for anchor in anchors), default=0)
    if cut > end:
        yield Finding(end + 1, f"entries up to {cut} are missing at the end")
    for anchor in anchors:
        if anchor.seq == 0 and anchor.hash in walk.unmet - {audit.GENESIS}:
            yield Finding(end + 1, f"no entry has the hash {anchor.hash[:12]} of the anchor")


def _check_signature(entry: Entry, walk: _Walk) -> Iterator[Finding]:
    if entry.signer is None:
        if entry.kind in MUST_BE_SIGNED and (entry.kind != PERSON_ADDED or walk.has_governance):
            yield Finding(entry.seq, "is not signed")
        return
    signer = walk.people.get(entry.signer)
    if signer is None or signer.removed_seq is not None:
        yield Finding(entry.seq, f"{entry.signer} was not registered at that time")
    elif not is_signed_by(signer.public_key, entry.signature, audit.signed_text(entry.kind, entry.body, entry.at)):
        yield Finding(entry.seq, f"is not signed with the key of {entry.signer}")
    elif entry.kind in (PERSON_ADDED, PERSON_REMOVED) and signer.role != "governance":
        yield Finding(entry.seq, f"{entry.signer} is not of governance")
    if entry.signature in walk.signatures:
        yield Finding(entry.seq, "carries a signature that was used before")
    walk.signatures.add(str(entry.signature))


def _note_people(entry: Entry, walk: _Walk) -> Iterator[Finding]:
    """Take in who came and who left; nobody comes twice, by a spelling of the name or with the same key."""
    name, key = str(entry.body.get("name")), str(entry.body.get("public_key"))
    if entry.kind == PERSON_ADDED:
        for known, person in walk.people.items():
            if folded(known) == folded(name) or person.public_key == key:
                yield Finding(entry.seq, f"registers {name}, who by name or key is {known}")
        walk.people[name] = _Person(str(entry.body.get("role")), key, entry.seq)
    elif entry.kind == PERSON_REMOVED and name in walk.people:
        walk.people[name].removed_seq = entry.seq


def _body(row: Row[Any]) -> dict[str, Any]:
    """What an entry says; nothing when somebody has put in what is no document, which its hash shows."""
    try:
        body = json.loads(row.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _check_people(connection: Connection, walk: _Walk) -> Iterator[Finding]:
    """The register is a copy of the chain, and must say the same."""
    stored = {
        row.name: _Person(row.role, row.public_key, row.added_seq, row.removed_seq)
        for row in connection.execute(select(person_table))
    }
    for name in sorted(stored.keys() | walk.people.keys()):
        said, written = walk.people.get(name), stored.get(name)
        if said != written:
            seq = (said or written or _Person("", "", 0)).added_seq
            yield Finding(seq, f"the register of people differs from the chain for {name}")


def _check_releases(connection: Connection, walk: _Walk) -> Iterator[Finding]:
    """A finding of the watch holds nothing any more only where an entry that its signer wrote says so."""
    said = {(entry.body.get("finding_id"), seq, entry.at) for seq, entry in walk.released.items()}
    query = select(finding_table.c.finding_id, finding_table.c.released_seq, finding_table.c.released_at)
    written = {tuple(row) for row in connection.execute(query.where(finding_table.c.released_at.is_not(None)))}
    for finding_id, seq, _ in sorted(said ^ written, key=lambda each: each[:2]):
        yield Finding(int(seq), f"the release of finding {finding_id} differs from the chain")
