"""The audit chain of an installation, compared with all that is known of it elsewhere."""

from dataclasses import dataclass

from flows.house import House
from integrations.records import audit
from integrations.records.audit import Anchor
from integrations.records.audit_check import Finding, verify


@dataclass(frozen=True, kw_only=True)
class ChainCheck:
    """How the chain ends, and what is wrong with it."""

    head: Anchor
    findings: list[Finding]


def check_chain(house: House, *anchors: Anchor) -> ChainCheck:
    """Check links, signatures and decisions, and that the chain reaches the head kept beside the records."""
    kept = house.records.kept_head()
    with house.records.read() as connection:
        known = [*anchors, kept] if kept else anchors
        return ChainCheck(head=audit.head(connection), findings=verify(connection, *known))
