"""Send what the outbox holds to the EHR, so that each score stands there once however often this runs or dies."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Self

from integrations.fhir.risk_assessment import RiskDescription, RiskScore, faults, risk_assessment
from integrations.records import Records, audit
from integrations.write_back import outbox
from integrations.write_back.outbox import Claim
from integrations.write_back.target import Delivery, Outgoing, Target

BATCH = 200
LEASE = timedelta(minutes=15)  # a batch must be through by then


@dataclass(frozen=True, kw_only=True)
class WriteBackCounts:
    """What a write-back did, or would do: due = resources handed to the target + invalid ones, which are never sent."""

    due: int = 0
    resources: int = 0
    invalid: int = 0
    acknowledged: int = 0
    failed: int = 0
    dead: int = 0  # the invalid ones are among them
    is_plan: bool = False

    def __add__(self, other: Self) -> Self:
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        return replace(self, **(sums | {"is_plan": self.is_plan}))


@dataclass(frozen=True, kw_only=True)
class _Desk:
    """What stays the same for all batches of one write-back."""

    target: Target
    describe: Mapping[str, RiskDescription]
    identifier_system: str
    as_of: datetime


def write_back(
    records: Records,
    *,
    target: Target,
    describe: Mapping[str, RiskDescription],
    identifier_system: str,
    as_of: datetime,
    dry_run: bool = False,
    lease: timedelta = LEASE,
) -> WriteBackCounts:
    """Send every due score of the described use cases; one transaction notes each batch's answers and its audit entry.

    Use cases without a description are left alone: that is how a stopped use case stays silent. What a process
    had in hand when it died is due again once its lease has run out.
    """
    desk = _Desk(target=target, describe=describe, identifier_system=identifier_system, as_of=as_of)
    if dry_run:
        return _plan(records, desk)
    total = WriteBackCounts()
    for claims in _claims(records, desk, lease):
        prepared = [_prepare(desk, each.score, each.attempt) for each in claims]
        deliveries = _send(desk, prepared)
        with records.begin() as connection:
            outbox.settle(connection, claims, deliveries, as_of=as_of)
            audit.append(connection, kind="write_back", body=_audit_body(target, claims, deliveries), at=as_of)
        total += _handed_over(prepared) + _answered(deliveries)
        if any(each.is_target_down for each in deliveries):
            break
    return total


def _plan(records: Records, desk: _Desk) -> WriteBackCounts:
    with records.read() as connection:
        scores = outbox.due(connection, desk.describe, as_of=desk.as_of)
    return replace(_handed_over([_prepare(desk, each, 1) for each in scores]), is_plan=True)


def _claims(records: Records, desk: _Desk, lease: timedelta) -> Iterator[list[Claim]]:
    """Take batch after batch until nothing is due; a row that failed is due later, so this ends."""
    while True:
        with records.begin() as connection:
            claims = outbox.claim(connection, desk.describe, as_of=desk.as_of, lease=lease, limit=BATCH)
        if not claims:
            return
        yield claims


def _prepare(desk: _Desk, score: RiskScore, attempt: int) -> Outgoing | Delivery:
    """Return the checked resource, or why it may never be sent."""
    resource = risk_assessment(score, desk.describe[score.use_case], identifier_system=desk.identifier_system)
    wrong = faults(resource)
    if score.patient_id.partition("/")[0] != score.encounter_id.partition("/")[0]:
        wrong.append("patient and encounter come from different sources")
    if wrong:
        return Delivery(status="dead", reason="not sent, invalid: " + "; ".join(wrong))
    return Outgoing(
        score_id=score.score_id,
        system=desk.identifier_system,
        identifier=score.identifier,
        resource=resource,
        may_be_there=attempt > 1,
    )


def _send(desk: _Desk, prepared: Sequence[Outgoing | Delivery]) -> list[Delivery]:
    """Hand the valid ones to the target; return what became of each, in order."""
    valid = [each for each in prepared if isinstance(each, Outgoing)]
    answers = iter(desk.target.send(valid) if valid else ())
    return [next(answers) if isinstance(each, Outgoing) else each for each in prepared]


def _handed_over(prepared: Sequence[Outgoing | Delivery]) -> WriteBackCounts:
    resources = sum(isinstance(each, Outgoing) for each in prepared)
    return WriteBackCounts(due=len(prepared), resources=resources, invalid=len(prepared) - resources)


def _answered(deliveries: Sequence[Delivery]) -> WriteBackCounts:
    count = Counter(each.status for each in deliveries)
    return WriteBackCounts(acknowledged=count["acknowledged"], failed=count["failed"], dead=count["dead"])


def _audit_body(target: Target, claims: Sequence[Claim], deliveries: Sequence[Delivery]) -> dict[str, object]:
    scores: dict[str, list[str]] = {}
    for mine, delivery in zip(claims, deliveries, strict=True):
        scores.setdefault(delivery.status, []).append(mine.score.score_id)
    return {"target": target.name, "counts": {status: len(ids) for status, ids in scores.items()}, "scores": scores}
