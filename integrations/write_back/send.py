"""Send what the outbox holds to the EHR, so that each score stands there once however often this runs or dies."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Self

from integrations.fhir.risk_assessment import Resource, RiskScore, faults, risk_assessment
from integrations.records import Records, audit
from integrations.write_back import outbox
from integrations.write_back.outbox import Claim
from integrations.write_back.permit import Permit, Permits
from integrations.write_back.target import Delivery, Outgoing, Target

BATCH = 200
LEASE = timedelta(minutes=15)  # a batch must be through by then


@dataclass(frozen=True, kw_only=True)
class WriteBackCounts:
    """What a write-back did, or would do: due = resources handed to the target + withheld + invalid.

    Of what was due: acknowledged + failed + dead + void. A plan, which asks no EHR, leaves these at zero.
    """

    due: int = 0
    resources: int = 0
    withheld: int = 0  # may not go out any more: void, unless the EHR turns out to have it already
    invalid: int = 0  # not fit to be sent: dead, or failed while it may still be mended
    acknowledged: int = 0
    failed: int = 0
    dead: int = 0
    void: int = 0
    is_plan: bool = False

    def __add__(self, other: Self) -> Self:
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        return replace(self, **(sums | {"is_plan": self.is_plan}))


@dataclass(frozen=True, kw_only=True)
class _Desk:
    """What stays the same for all batches of one write-back."""

    target: Target
    permits: Permits
    identifier_system: str
    as_of: datetime


def write_back(
    records: Records,
    *,
    target: Target,
    permits: Permits,
    identifier_system: str,
    as_of: datetime,
    dry_run: bool = False,
    lease: timedelta = LEASE,
) -> WriteBackCounts:
    """Send every due score that has a permit; one transaction notes each batch's answers and its audit entry.

    What belongs to a site and use case without a permit is left alone: that is how a stopped one stays silent. What a
    process had in hand when it died is due again once its lease has run out. A fault of the target itself is raised
    once all that was answered is noted.
    """
    desk = _Desk(target=target, permits=permits, identifier_system=identifier_system, as_of=as_of)
    if dry_run:
        return _plan(records, desk)
    total = WriteBackCounts()
    for claims in _claims(records, desk, lease):
        prepared = [_prepare(desk, each) for each in claims]
        answers, fault = _send(target, prepared)
        deliveries = list(map(outbox.given_up, claims, answers))
        with records.begin() as connection:
            outbox.settle(connection, claims, deliveries, as_of=as_of)
            audit.append(connection, kind="write_back", body=_audit_body(target, claims, deliveries), at=as_of)
        if fault:
            raise fault
        total += _handed_over(prepared) + _answered(deliveries)
        if any(each.is_target_down for each in deliveries):
            break
    return total


def _plan(records: Records, desk: _Desk) -> WriteBackCounts:
    with records.read() as connection:
        claims = outbox.due(connection, desk.permits, as_of=desk.as_of)
    return replace(_handed_over([_prepare(desk, each) for each in claims]), is_plan=True)


def _claims(records: Records, desk: _Desk, lease: timedelta) -> Iterator[list[Claim]]:
    """Take batch after batch until nothing is due; a row that failed is due later, so this ends."""
    while True:
        with records.begin() as connection:
            claims = outbox.claim(connection, desk.permits, as_of=desk.as_of, lease=lease, limit=BATCH)
        if not claims:
            return
        yield claims


def _prepare(desk: _Desk, mine: Claim) -> Outgoing | Delivery:
    """Return what to hand over, or why nothing is. One that may not go out any more is only looked for."""
    score = mine.score
    permit = desk.permits[mine.site_id, score.use_case]
    void_because = permit.void_because(score, desk.as_of)
    if void_because and mine.attempt == 1:
        return Delivery(status="void", reason=void_because, is_untried=True)
    resource = {} if void_because else _checked_resource(score, permit, desk.identifier_system)
    if isinstance(resource, Delivery):
        return resource
    return Outgoing(
        score_id=score.score_id,
        system=desk.identifier_system,
        identifier=score.identifier,
        resource=resource,
        may_be_there=mine.attempt > 1,
        void_because=void_because,
    )


def _checked_resource(score: RiskScore, permit: Permit, identifier_system: str) -> Resource | Delivery:
    """Return the RiskAssessment, or why it may not be sent as it is."""
    try:
        resource = risk_assessment(score, permit.description, identifier_system=identifier_system)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # the kind only: the message may hold a value of the patient
        return Delivery(status="failed", reason=f"cannot be made into a RiskAssessment: {type(error).__name__}")
    wrong = faults(resource)
    if score.patient_id.partition("/")[0] != score.encounter_id.partition("/")[0]:
        wrong.append("patient and encounter come from different sources")
    if wrong:
        return Delivery(status="dead", reason="not sent, invalid: " + "; ".join(wrong))
    return resource


def _send(target: Target, prepared: Sequence[Outgoing | Delivery]) -> tuple[list[Delivery], Exception | None]:
    """Hand over what is to be; return what became of each, in order, and the first fault of the target's own.

    The one on which the target breaks has failed, and the rest is handed over all the same.
    """
    outgoing = [each for each in prepared if isinstance(each, Outgoing)]
    heard: list[Delivery] = []
    fault: Exception | None = None
    while rest := outgoing[len(heard) :]:
        try:
            for _, answer in zip(rest, target.send(rest), strict=True):
                heard.append(answer)
        except Exception as error:
            fault = fault or error
            heard.append(Delivery(status="failed", reason=f"write-back broke on it: {type(error).__name__}"))
    answers = iter(heard)
    return [next(answers) if isinstance(each, Outgoing) else each for each in prepared], fault


def _handed_over(prepared: Sequence[Outgoing | Delivery]) -> WriteBackCounts:
    outgoing = [each for each in prepared if isinstance(each, Outgoing)]
    invalid = sum(isinstance(each, Delivery) and each.status != "void" for each in prepared)
    resources = sum(each.void_because is None for each in outgoing)
    due = len(prepared)
    return WriteBackCounts(due=due, resources=resources, withheld=due - resources - invalid, invalid=invalid)


def _answered(deliveries: Sequence[Delivery]) -> WriteBackCounts:
    count = Counter(each.status for each in deliveries)
    return WriteBackCounts(
        acknowledged=count["acknowledged"], failed=count["failed"], dead=count["dead"], void=count["void"]
    )


def _audit_body(target: Target, claims: Sequence[Claim], deliveries: Sequence[Delivery]) -> dict[str, object]:
    scores: dict[str, list[str]] = {}
    void_because: dict[str, list[str]] = {}
    for mine, delivery in zip(claims, deliveries, strict=True):
        scores.setdefault(delivery.status, []).append(mine.score.score_id)
        if delivery.status == "void":
            void_because.setdefault(str(delivery.reason), []).append(mine.score.score_id)
    counts = {status: len(ids) for status, ids in scores.items()}
    body: dict[str, object] = {"target": target.name, "counts": counts, "scores": scores}
    return body | ({"void_because": void_because} if void_because else {})
