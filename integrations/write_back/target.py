"""What a target of write-back is: it takes RiskAssessments and says of each what became of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from integrations.fhir.risk_assessment import Resource


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One RiskAssessment to send. `may_be_there`: it was handed over before, and nobody knows whether it arrived.

    With `void_because` it may not be sent any more: the target only looks whether it is there.
    """

    score_id: str
    system: str
    identifier: str
    resource: Resource
    may_be_there: bool
    void_because: str | None = None

    @property
    def query(self) -> str:
        """The FHIR search by which this one, and no other, is found."""
        return f"identifier={self.system}|{self.identifier}"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What became of one of them. failed: another try may pass; dead, void: none will. `reason` has no PHI."""

    status: Literal["acknowledged", "failed", "dead", "void"]
    location: str | None = None
    reason: str | None = None
    retry_after: timedelta = timedelta(0)
    is_target_down: bool = False  # nothing else would pass now either
    is_untried: bool = False  # it never left the house


class Target(Protocol):
    """Where RiskAssessments go. Sending one twice must leave one there."""

    @property
    def name(self) -> str:
        """One word for the audit entry."""
        ...

    def send(self, batch: Sequence[Outgoing]) -> Iterable[Delivery]:
        """Send a batch; one Delivery for each, in the same order, each as soon as it is known."""
        ...
