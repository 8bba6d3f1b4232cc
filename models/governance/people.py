"""Who may sign: a register of people, their roles and their public keys. Private keys lie with their owners."""

import os
import re
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, insert, select, update

from integrations.errors import Refused, WrongUsage, did_you_mean
from integrations.records import Records, audit
from integrations.records.audit_check import PERSON_ADDED, PERSON_REMOVED
from integrations.records.person_name import folded
from integrations.records.schema import person
from models.governance.signing import Signer, checked_reason, present_people, sign_entry, written_key
from models.governance.versions import UNNAMED

ROLES = ("engineer", "governance", "clinician")
NAME = re.compile(r"\w[\w .'-]{0,63}")  # no colon: service:train is nobody


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody in the register."""

    name: str
    role: str
    public_key: str
    is_removed: bool = False


def add_person(
    records: Records,
    *,
    name: str,
    role: str,
    key_out: Path,
    as_of: datetime,
    signer: Signer | None,
    home: Path,
    dry_run: bool = False,
) -> Person:
    """Register a person with a new key pair; the private half goes to `key_out` and nowhere else.

    The first one is added by whoever owns ROUNDS_HOME; later ones need the signature of a governance person. As long as
    the register holds none of governance, the owner may still add one, or nobody ever could.
    """
    if not _is_a_name(name) or role not in ROLES:
        raise WrongUsage(
            f"{name} with the role {role} cannot be registered",
            to_do=f"a name of letters, digits, blank . ' - and one of the roles {', '.join(ROLES)}",
        )
    if key_out.exists():
        raise Refused("there is a file already, and keys are not overwritten", where=str(key_out))
    key = Ed25519PrivateKey.generate()
    body = {"name": name, "role": role, "public_key": Signer(name, key).public_key}
    with nullcontext() if dry_run else written_key(key_out, key), records.begin(dry_run=dry_run) as connection:
        audit.hold(connection)
        alike = [known.name for known in _people(connection) if folded(known.name) == folded(name)]
        if alike:
            to_do = "choose a name that differs in more than case and blanks; names are not used again"
            raise Refused(f"the name {name} is or was in use, as {alike[0]}", to_do=to_do)
        if signer is None:
            _check_owner_may_add(connection, role, home)
            seq = audit.append(connection, kind=PERSON_ADDED, body=body, at=as_of)
        else:
            seq = sign_entry(connection, signer, kind=PERSON_ADDED, body=body, at=as_of, roles=("governance",))
        connection.execute(insert(person).values(**body, added_seq=seq))
    return Person(name=name, role=role, public_key=body["public_key"])


def remove_person(
    records: Records, *, name: str, signer: Signer, reason: str, as_of: datetime, dry_run: bool = False
) -> None:
    """Take a person's right to sign, and what they signed towards a decision that is not complete yet."""
    body = {"name": name, "reason": checked_reason(reason)}
    with records.begin(dry_run=dry_run) as connection:
        audit.hold(connection)
        present = {known.name: known.role for known in _people(connection) if not known.is_removed}
        if name not in present:
            raise Refused(f"{name} is not registered, or was removed before")
        if present[name] == "governance" and list(present.values()).count("governance") == 1:
            raise Refused(f"{name} is the last one of governance", to_do="add another governance person first")
        seq = sign_entry(connection, signer, kind=PERSON_REMOVED, body=body, at=as_of, roles=("governance",))
        connection.execute(update(person).where(person.c.name == name).values(removed_seq=seq))


def trainer_of_name(records: Records, name: str) -> str:
    """The trainer as records will name them: in the spelling of the register, once anybody stands in it.

    Refused for a name that is not registered: its bearer could approve what they have trained.
    """
    if not _is_a_name(name):
        raise WrongUsage(f"{name} is no name of a person", to_do="--as NAME, as registered by rounds people add")
    with records.read() as connection:
        registered = present_people(connection)
    if not registered:
        return name
    alike = [known for known in registered if folded(known) == folded(name)]
    if not alike:
        raise Refused(f"{name} is not registered, so cannot train in that name", to_do=did_you_mean(name, registered))
    return alike[0]


def list_people(records: Records) -> list[Person]:
    """Everybody who is or was in the register, by name."""
    with records.read() as connection:
        return _people(connection)


def _is_a_name(name: str) -> bool:
    return NAME.fullmatch(name) is not None and folded(name) not in ("", UNNAMED)


def _people(connection: Connection) -> list[Person]:
    return [
        Person(name=row.name, role=row.role, public_key=row.public_key, is_removed=row.removed_seq is not None)
        for row in connection.execute(select(person).order_by(person.c.name))
    ]


def _check_owner_may_add(connection: Connection, role: str, home: Path) -> None:
    known = _people(connection)
    has_governance = any(person.role == "governance" for person in known)
    if has_governance or (known and role != "governance"):
        who = "a governance person's signature" if has_governance else "a governance person first"
        raise Refused(f"adding this person needs {who}", to_do="add --as NAME --key FILE of a governance person")
    if home.stat().st_uid != os.geteuid():
        raise Refused("the first person is added by the owner of ROUNDS_HOME", where=str(home))
