"""Which version speaks: the champion, and the next in line. MLflow's aliases follow what this says."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from integrations.errors import NotInOrder, Refused
from integrations.records import Records, audit
from integrations.records.decision_check import PEOPLE_NEEDED, PROMOTED, ROLLED_BACK, standing_signers
from models.governance.approvals import approval_of, approvals_of_artifact, standing_approvals
from models.governance.signing import Signer, checked_reason, people_at, sign_entry, signed_entries
from models.governance.versions import all_versions, find_version


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What is champion now and what was before. `is_new` is False when it was champion already."""

    use_case: str
    champion: int
    previous: int | None
    is_new: bool = True


def promote(records: Records, *, use_case: str, version: int, as_of: datetime, dry_run: bool = False) -> Promotion:
    """Make an approved version the champion. Doing it again changes nothing, so a flow may repeat it."""
    with records.begin(dry_run=dry_run) as connection:
        audit.hold(connection)
        found = find_version(connection, use_case, version)
        line = _promotions_in_force(connection, use_case)
        before = [_version(entry) for entry in line]
        if before[-1:] == [version] and _is_approved(connection, line[-1]):
            return Promotion(use_case=use_case, champion=version, previous=_last(before[:-1]), is_new=False)
        approval = approval_of(connection, use_case, version)
        if not approval.is_complete:
            raise Refused(
                f"{use_case} {version} has {len(approval.approved_by)} of {PEOPLE_NEEDED} approvals",
                to_do=f"rounds approve {use_case} {version} --as NAME --key FILE --reason TEXT",
            )
        signed = [entry.seq for entry in standing_approvals(connection, found) if entry.signer in approval.approved_by]
        previous = _last(before)
        body = {"use_case": use_case, "version": version, "previous": previous, "approvals": signed}
        audit.append(connection, kind=PROMOTED, body=body, at=as_of)
    return Promotion(use_case=use_case, champion=version, previous=previous)


def rollback(
    records: Records, *, use_case: str, signer: Signer, reason: str, as_of: datetime, dry_run: bool = False
) -> Promotion:
    """Go back to the champion before. One person is enough; the version rolled back needs new approvals to return."""
    checked = checked_reason(reason)
    with records.begin(dry_run=dry_run) as connection:
        audit.hold(connection)
        line = [_version(entry) for entry in _promotions_in_force(connection, use_case)]
        if len(line) < 2:
            raise Refused(
                f"{use_case} has no earlier champion to go back to",
                to_do=f"rounds stage {use_case} off --as NAME --key FILE stops it",
            )
        body = {"use_case": use_case, "rolled_back": line[-1], "champion": line[-2], "reason": checked}
        sign_entry(connection, signer, kind=ROLLED_BACK, body=body, at=as_of)
    return Promotion(use_case=use_case, champion=line[-2], previous=line[-1])


def champion(connection: Connection, use_case: str) -> int | None:
    """The version in use, or None.

    Raises NotInOrder unless its promotion names two people's signatures over what the register of models shows now,
    all given since the version was last rolled back. A rollback by one person ends such a promotion.
    """
    line = _promotions_in_force(connection, use_case)
    if not line:
        return None
    version = _version(line[-1])
    if not _is_approved(connection, line[-1]):
        raise NotInOrder(
            f"{use_case} {version} is champion without {PEOPLE_NEEDED} signatures over its artifact and report",
            where=f"audit chain, entry {line[-1].seq}",
            to_do=f"rounds audit verify; until it is explained, rounds rollback {use_case} or stage it off",
        )
    return version


def challenger(connection: Connection, use_case: str) -> int | None:
    """The newest version that passed the gate and is newer than every one promoted so far; or None."""
    promoted = [int(entry.body["version"]) for entry in _moves(connection, use_case) if entry.kind == PROMOTED]
    passed = [found.version for found in all_versions(connection, use_case) if found.gate == "pass"]
    return max((version for version in passed if version > max(promoted, default=0)), default=None)


def versions_report(records: Records, use_case: str) -> list[dict[str, Any]]:
    """One line per version, oldest first, as `rounds versions --json` prints it."""
    with records.read() as connection:
        aliases = {"champion": champion(connection, use_case), "challenger": challenger(connection, use_case)}
        return [
            {
                "version": found.version,
                "aliases": [alias for alias, version in aliases.items() if version == found.version],
                "trained_at": found.trained_at.isoformat(),
                "gate": found.gate,
                "reasons": list(found.reasons),
                "approved_by": [str(entry.signer) for entry in standing_approvals(connection, found)],
            }
            for found in all_versions(connection, use_case)
        ]


def _promotions_in_force(connection: Connection, use_case: str) -> list[audit.Entry]:
    """The promotions in order, the champion's last; a rollback takes the last one away."""
    line: list[audit.Entry] = []
    for entry in _moves(connection, use_case):
        if entry.kind == PROMOTED:
            line.append(entry)
        elif line:
            line.pop()
    return line


def _is_approved(connection: Connection, promotion: audit.Entry) -> bool:
    """Whether two people stood behind a promotion when it was written."""
    found = find_version(connection, promotion.body["use_case"], _version(promotion))
    rollbacks = signed_entries(connection, ROLLED_BACK, use_case=found.use_case, rolled_back=found.version)
    since = max((entry.seq for entry in rollbacks if entry.seq < promotion.seq), default=0)
    present = people_at(connection, promotion.seq)
    approvals = [entry for entry in approvals_of_artifact(connection, found) if entry.signer in present]
    signers = standing_signers(promotion, approvals, since=since, trained_by=found.trained_by)
    return len(signers) >= PEOPLE_NEEDED


def _moves(connection: Connection, use_case: str) -> list[audit.Entry]:
    rolled_back = signed_entries(connection, ROLLED_BACK, use_case=use_case)
    promoted = [entry for entry in audit.entries(connection, PROMOTED) if entry.body["use_case"] == use_case]
    return sorted([*promoted, *rolled_back], key=lambda entry: entry.seq)


def _version(promotion: audit.Entry) -> int:
    return int(promotion.body["version"])


def _last(line: list[int]) -> int | None:
    return line[-1] if line else None
