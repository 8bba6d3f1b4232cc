"""Decisions that need two people, and whether the entries of the chain show both of them.

Asked twice: when a decision is acted upon, and by `rounds audit verify` for all there ever were.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select

from integrations.records.audit import Entry
from integrations.records.person_name import folded
from integrations.records.schema import model_version

APPROVED, PROMOTED, ROLLED_BACK = "approved", "promoted", "rolled_back"
STAGE_REQUESTED, STAGE_SET = "stage_requested", "stage_set"
FINDING_RELEASED = "finding_released"
PEOPLE_NEEDED = 2
LIVE_REQUEST_LASTS = timedelta(days=7)
SIGNED_OF_A_VERSION = ("use_case", "version", "manifest_hash", "report_hash")


def standing_signers(promotion: Entry, approvals: Iterable[Entry], *, since: int, trained_by: str) -> set[str]:
    """Who stands behind a promotion: signed an approval that it names, after entry `since`, and is not the trainer."""
    named = promotion.body.get("approvals") or ()
    return {
        str(approval.signer)
        for approval in approvals
        if approval.seq in named
        and since < approval.seq < promotion.seq
        and folded(str(approval.signer)) != folded(trained_by)
    }


def is_granted(live: Entry, request: Entry | None) -> bool:
    """Whether going live answers a request that somebody else had made, at most a week before."""
    return (
        request is not None
        and request.seq == live.body.get("request")
        and request.signer != live.signer
        and abs(live.at - request.at) <= LIVE_REQUEST_LASTS
    )


@dataclass
class Decisions:
    """What was decided by the entries read so far; each is read once its own signature has been checked."""

    versions: Mapping[tuple[str, int], Any]
    approvals: list[Entry] = field(default_factory=list)
    rolled_back_seq: dict[tuple[Any, Any], int] = field(default_factory=dict)
    last_of_stage: dict[tuple[Any, Any], Entry] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: Connection) -> "Decisions":
        """Nothing decided yet, about the versions that records show now."""
        return cls({(row.use_case, row.version): row for row in connection.execute(select(model_version))})

    def read(self, entry: Entry, present: set[str]) -> Iterator[str]:
        """Take the next entry in, and say what is wrong with it. `present` are those registered at that time."""
        body = entry.body
        if entry.kind == APPROVED:
            self.approvals.append(entry)
        elif entry.kind == ROLLED_BACK:
            self.rolled_back_seq[body.get("use_case"), body.get("rolled_back")] = entry.seq
        elif entry.kind == PROMOTED:
            yield from self._check_promotion(entry, present)
        elif entry.kind in (STAGE_REQUESTED, STAGE_SET):
            place = body.get("site_id"), body.get("use_case")
            is_live = entry.kind == STAGE_SET and body.get("stage") == "live"
            if is_live and not is_granted(entry, self.last_of_stage.get(place)):
                yield "sets live without a request of a second person in the week before"
            self.last_of_stage[place] = entry

    def _check_promotion(self, entry: Entry, present: set[str]) -> Iterator[str]:
        about = entry.body.get("use_case"), entry.body.get("version")
        version = self.versions.get(about)  # type: ignore[arg-type]
        if version is None:
            yield "promotes a version that is not registered"
            return
        signed = tuple(getattr(version, name) for name in SIGNED_OF_A_VERSION)
        given = [
            approval
            for approval in self.approvals
            if approval.signer in present and tuple(approval.body.get(name) for name in SIGNED_OF_A_VERSION) == signed
        ]
        since = self.rolled_back_seq.get(about, 0)
        if len(standing_signers(entry, given, since=since, trained_by=version.trained_by)) < PEOPLE_NEEDED:
            yield f"promotes {about[0]} {about[1]} without {PEOPLE_NEEDED} approvals that stand"
