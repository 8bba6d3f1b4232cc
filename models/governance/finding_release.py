"""A person lifts a finding of the watch: signed, with a reason, in the audit chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from integrations.errors import Refused, WrongUsage
from integrations.records import Records, audit
from integrations.records.decision_check import FINDING_RELEASED
from integrations.records.schema import finding
from models.governance.signing import Signer, checked_reason, sign_entry


@dataclass(frozen=True, kw_only=True)
class Release:
    """What was released: from released_at on the finding holds nothing."""

    finding_id: int
    source: str
    kind: str
    severity: str
    released_at: datetime
    seq: int


def release_finding(
    records: Records,
    *,
    finding_id: int,
    signer: Signer,
    reason: str,
    as_of: datetime,
    is_usual: bool = False,
    dry_run: bool = False,
) -> Release:
    """Release one finding. is_usual: what it showed is right, and usual from now on; else it is found when it returns.

    Raises WrongUsage for a finding that is not there, Refused for one that is released or was opened after as_of.
    """
    why = checked_reason(reason)
    with records.begin(dry_run=dry_run) as connection:
        audit.hold(connection)
        row = connection.execute(select(finding).where(finding.c.finding_id == finding_id)).first()
        if row is None:
            raise WrongUsage(f"there is no finding {finding_id}", to_do="rounds watch")
        if row.released_at is not None:
            raise Refused(f"finding {finding_id} was released already, by entry {row.released_seq} of the audit chain")
        if as_of < row.opened_at:
            raise Refused(f"finding {finding_id} was opened at {row.opened_at.isoformat()}, after this release")
        body: Mapping[str, Any] = {
            "finding_id": finding_id,
            "source": row.source,
            "kind": row.kind,
            "severity": row.severity,
            "codes": list(row.codes),
            "opened_at": row.opened_at.isoformat(),
            "is_usual": is_usual,
            "reason": why,
        }
        seq = sign_entry(connection, signer, kind=FINDING_RELEASED, body=body, at=as_of)
        connection.execute(
            update(finding).where(finding.c.finding_id == finding_id).values(released_at=as_of, released_seq=seq)
        )
    return Release(
        finding_id=finding_id, source=row.source, kind=row.kind, severity=row.severity, released_at=as_of, seq=seq
    )
