"""Two people say yes to one version of a model, or it does not go to patients.

The rule: the gate has passed; two different registered people have signed; neither of them trained the version. What
they sign names the hashes of the artifact's manifest and of the evaluation report: a touched version has no approval.
Nobody is known to have trained a version that was trained without a name; then the approvers see to that themselves.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from integrations.errors import Refused
from integrations.records import Records, audit
from integrations.records.decision_check import APPROVED, PEOPLE_NEEDED, ROLLED_BACK, SIGNED_OF_A_VERSION
from integrations.records.person_name import folded
from models.governance.signing import Signer, checked_reason, present_people, sign_entry, signed_entries
from models.governance.versions import Version, find_version


@dataclass(frozen=True, kw_only=True)
class Approval:
    """How far a version has come: who has said yes, and whether that is enough."""

    use_case: str
    version: int
    approved_by: tuple[str, ...]
    is_trainer_known: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether the version may be promoted."""
        return len(self.approved_by) >= PEOPLE_NEEDED


def approve(
    records: Records,
    *,
    use_case: str,
    version: int,
    signer: Signer,
    reason: str,
    as_of: datetime,
    dry_run: bool = False,
) -> Approval:
    """Sign one version. The second person's signature makes the approval complete; promoting is the caller's next step.

    Refused when the gate did not pass, to the trainer, to somebody removed or with another's key, and a second time.
    """
    checked = checked_reason(reason)
    with records.begin(dry_run=dry_run) as connection:
        audit.hold(connection)
        found = find_version(connection, use_case, version)
        if found.gate != "pass":
            sentences = "; ".join(found.reasons)
            raise Refused(
                f"the gate of {use_case} {version} says {found.gate}: {sentences}", to_do="train another version"
            )
        if folded(signer.name) == folded(found.trained_by):
            raise Refused(f"{signer.name} trained {use_case} {version}", to_do="ask two others to approve it")
        if signer.name in {entry.signer for entry in standing_approvals(connection, found)}:
            raise Refused(f"{signer.name} has approved {use_case} {version} already", to_do="ask another person")
        body = _signed_of(found) | {"reason": checked}
        sign_entry(connection, signer, kind=APPROVED, body=body, at=as_of)
        return approval_of(connection, use_case, version)


def approval_of(connection: Connection, use_case: str, version: int) -> Approval:
    """Who has approved this version, of those still in the register."""
    present, found = present_people(connection), find_version(connection, use_case, version)
    names = dict.fromkeys(str(entry.signer) for entry in standing_approvals(connection, found))
    counted = tuple(name for name in names if name in present and folded(name) != folded(found.trained_by))
    return Approval(use_case=use_case, version=version, approved_by=counted, is_trainer_known=found.is_trainer_known)


def standing_approvals(connection: Connection, version: Version) -> list[audit.Entry]:
    """The approvals of this artifact and report, given after the version was last rolled back, oldest first."""
    rolled_back = signed_entries(connection, ROLLED_BACK, use_case=version.use_case, rolled_back=version.version)
    since = rolled_back[-1].seq if rolled_back else 0
    return [entry for entry in approvals_of_artifact(connection, version) if entry.seq > since]


def approvals_of_artifact(connection: Connection, version: Version) -> list[audit.Entry]:
    """Every signature ever given over exactly this artifact and report, oldest first."""
    return signed_entries(connection, APPROVED, **_signed_of(version))


def _signed_of(version: Version) -> dict[str, str | int]:
    return {name: getattr(version, name) for name in SIGNED_OF_A_VERSION} | {"decision": "approve"}
