"""How far a use case may go at a site: off (not scored), silent (scored, nobody sees it), live (written to the EHR).

Off is where every site begins, and promoting a version does not change it: one person sets silent, two
set live, within a week. Off takes one person too, so that stopping never waits for a second one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from integrations.errors import NotInOrder, Refused, WrongUsage, did_you_mean
from integrations.records import Records, audit
from integrations.records.decision_check import LIVE_REQUEST_LASTS, STAGE_REQUESTED, STAGE_SET, is_granted
from models.governance.signing import Signer, checked_reason, present_people, sign_entry, signed_entries

Stage = Literal["off", "silent", "live"]
STAGES: tuple[Stage, ...] = ("off", "silent", "live")


@dataclass(frozen=True, kw_only=True)
class StageChange:
    """The stage in force after the call, and the one that was asked for."""

    site_id: str
    use_case: str
    stage: Stage
    asked: Stage
    expired_request_by: str | None = None  # whose request could have been granted, had it not been too old

    @property
    def is_granted(self) -> bool:
        """False while live waits for the second person."""
        return self.stage == self.asked


def set_stage(
    records: Records,
    *,
    site_id: str,
    sites: Collection[str],
    use_case: str,
    stage: str,
    signer: Signer,
    reason: str,
    as_of: datetime,
    dry_run: bool = False,
) -> StageChange:
    """Set off or silent; ask for live, or grant what another asked for in the last week. Any change ends a request.

    `sites` are those that the contracts name. WrongUsage for another one, unless something is in force there.
    """
    asked = next((known for known in STAGES if known == stage), None)
    if asked is None:
        raise WrongUsage(f"there is no stage {stage}", to_do=f"choose among: {', '.join(STAGES)}")
    body: dict[str, str | int] = {"site_id": site_id, "use_case": use_case, "stage": asked}
    body["reason"] = checked_reason(reason)
    with records.begin(dry_run=dry_run) as connection:
        audit.hold(connection)
        changes = _changes(connection, site_id, use_case)
        _check_site(site_id, sites, changes)
        pending = _pending_request(connection, site_id, use_case) if asked == "live" else None
        request = _to_grant(pending, signer, as_of)
        if request:
            body["request"] = request.seq
        kind = STAGE_REQUESTED if asked == "live" and not request else STAGE_SET
        sign_entry(connection, signer, kind=kind, body=body, at=as_of)
        in_force = stage_of(connection, site_id, use_case)
    expired = pending.signer if pending and not request else None
    return StageChange(site_id=site_id, use_case=use_case, stage=in_force, asked=asked, expired_request_by=expired)


def stage_of(connection: Connection, site_id: str, use_case: str) -> Stage:
    """The stage in force. Raises NotInOrder when live was set without two people's signatures within a week."""
    changes = _changes(connection, site_id, use_case)
    last = _last_set(changes)
    if last is None:
        return "off"
    stage: Stage = last.body["stage"]
    before = [entry for entry in changes if entry.seq < last.seq]
    if stage == "live" and not is_granted(last, before[-1] if before else None):
        raise NotInOrder(
            f"entry {last.seq} sets {use_case} live at {site_id} without a second person, "
            f"who had asked for it in the {LIVE_REQUEST_LASTS.days} days before",
            where="audit chain",
            to_do="rounds audit verify; set it off until it is explained",
        )
    return stage


def _check_site(site_id: str, sites: Collection[str], changes: list[audit.Entry]) -> None:
    """A mistyped site is refused: who stops a use case must not be told `done` while it goes on where it was meant."""
    last = _last_set(changes)
    if site_id not in sites and (last is None or last.body["stage"] == "off"):
        raise WrongUsage(
            f"no contract names the site {site_id}; nothing was changed",
            where="site_id in integrations/sources/*/contract.yaml",
            to_do=did_you_mean(site_id, sites),
        )


def _pending_request(connection: Connection, site_id: str, use_case: str) -> audit.Entry | None:
    """The request for live that nobody has answered, if who asked is still in the register."""
    if stage_of(connection, site_id, use_case) == "live":
        raise Refused(f"{use_case} is live at {site_id} already")
    last = next(reversed(_changes(connection, site_id, use_case)), None)
    if last is None or last.kind != STAGE_REQUESTED or last.signer not in present_people(connection):
        return None
    return last


def _to_grant(pending: audit.Entry | None, signer: Signer, as_of: datetime) -> audit.Entry | None:
    """The request that this person may grant: not their own, and not too old."""
    if pending is None or abs(as_of - pending.at) > LIVE_REQUEST_LASTS:
        return None
    if pending.signer == signer.name:
        raise Refused(
            f"{signer.name} has asked for live already",
            to_do=f"another person grants it, until {pending.at + LIVE_REQUEST_LASTS:%Y-%m-%d %H:%M} UTC",
        )
    return pending


def _last_set(changes: list[audit.Entry]) -> audit.Entry | None:
    return next((entry for entry in reversed(changes) if entry.kind == STAGE_SET), None)


def _changes(connection: Connection, site_id: str, use_case: str) -> list[audit.Entry]:
    return signed_entries(connection, STAGE_REQUESTED, STAGE_SET, site_id=site_id, use_case=use_case)
