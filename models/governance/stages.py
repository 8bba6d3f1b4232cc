"""How far a use case may go at a site: off (not scored), silent (scored, nobody sees it), live (written to the EHR).

Off is where every site begins, and promoting a version does not change it: one person sets silent, two
set live. Off takes one person too, so that stopping never waits for a second one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from integrations.errors import NotInOrder, Refused, WrongUsage
from integrations.records import Records, audit
from models.governance.signing import Signer, checked_reason, present_people, sign_entry, signed_entries

Stage = Literal["off", "silent", "live"]
STAGES: tuple[Stage, ...] = ("off", "silent", "live")
REQUESTED = "stage_requested"
SET = "stage_set"


@dataclass(frozen=True, kw_only=True)
class StageChange:
    """The stage in force after the call, and the one that was asked for."""

    site_id: str
    use_case: str
    stage: Stage
    asked: Stage

    @property
    def is_granted(self) -> bool:
        """False while live waits for the second person."""
        return self.stage == self.asked


def set_stage(
    records: Records,
    *,
    site_id: str,
    use_case: str,
    stage: str,
    signer: Signer,
    reason: str,
    as_of: datetime,
    dry_run: bool = False,
) -> StageChange:
    """Set off or silent; ask for live, or grant what another asked for. Any change ends an open request."""
    asked = next((known for known in STAGES if known == stage), None)
    if asked is None:
        raise WrongUsage(f"there is no stage {stage}", to_do=f"choose among: {', '.join(STAGES)}")
    body: dict[str, str | int] = {"site_id": site_id, "use_case": use_case, "stage": asked}
    body["reason"] = checked_reason(reason)
    with records.begin(dry_run=dry_run) as connection:
        audit.hold(connection)
        request = _request_to_grant(connection, site_id, use_case, signer) if asked == "live" else None
        if request:
            body["request"] = request.seq
        kind = REQUESTED if asked == "live" and not request else SET
        sign_entry(connection, signer, kind=kind, body=body, at=as_of)
        in_force = stage_of(connection, site_id, use_case)
    return StageChange(site_id=site_id, use_case=use_case, stage=in_force, asked=asked)


def stage_of(connection: Connection, site_id: str, use_case: str, *, at_most: Stage = "live") -> Stage:
    """The stage in force; `at_most` (a flag) may lower it and never raises it.

    Raises NotInOrder when live was set without two people's signatures.
    """
    changes = _changes(connection, site_id, use_case)
    last = next((entry for entry in reversed(changes) if entry.kind == SET), None)
    if last is None:
        return "off"
    granted: Stage = last.body["stage"]
    if granted == "live":
        asked_by = [
            entry.signer for entry in changes if entry.kind == REQUESTED and entry.seq == last.body.get("request")
        ]
        if not asked_by or asked_by == [last.signer]:
            raise NotInOrder(
                f"entry {last.seq} sets {use_case} live at {site_id} without a second person",
                where="audit chain",
                to_do="rounds audit verify; set it off until it is explained",
            )
    return min(granted, at_most, key=STAGES.index)


def _request_to_grant(connection: Connection, site_id: str, use_case: str, signer: Signer) -> audit.Entry | None:
    """The request for live that nobody has answered, if who asked is somebody else and still in the register."""
    if stage_of(connection, site_id, use_case) == "live":
        raise Refused(f"{use_case} is live at {site_id} already")
    last = next(reversed(_changes(connection, site_id, use_case)), None)
    if last is None or last.kind != REQUESTED or last.signer not in present_people(connection):
        return None
    if last.signer == signer.name:
        raise Refused(f"{signer.name} has asked for live already", to_do="another person grants it")
    return last


def _changes(connection: Connection, site_id: str, use_case: str) -> list[audit.Entry]:
    return signed_entries(connection, REQUESTED, SET, site_id=site_id, use_case=use_case)
