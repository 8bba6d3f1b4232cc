"""People with keys, and versions of a model, for the stories about decisions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from integrations.records import Records, audit
from integrations.records.audit_check import Finding, verify
from integrations.records.schema import model_version, snapshot
from models.governance.approvals import Approval, approve
from models.governance.people import add_person
from models.governance.promotion import Promotion, promote
from models.governance.signing import Signer, load_signer
from models.governance.stages import StageChange, set_stage

MONDAY = datetime(2024, 7, 1, 9, tzinfo=UTC)


@dataclass
class Office:
    """The people and the models of one hospital; each call is a minute later than the one before."""

    records: Records
    home: Path
    minutes: int = 0
    signers: dict[str, Signer] = field(default_factory=dict)

    def now(self) -> datetime:
        self.minutes += 1
        return MONDAY + timedelta(minutes=self.minutes)

    def add(self, name: str, role: str, by: str | None = None, **other: Any) -> Signer:
        key_out = self.home / f"{name}.pem"
        signer = self.signers[by] if by else None
        given = {"key_out": key_out, "signer": signer, "home": self.home, **other}
        add_person(self.records, name=name, role=role, as_of=self.now(), **given)
        self.signers[name] = load_signer(name, key_out)
        return self.signers[name]

    def train(self, version: int, gate: str = "pass", by: str = "service:train", use_case: str = "aki_48h") -> None:
        with self.records.begin() as connection:
            connection.execute(
                insert(model_version).values(
                    use_case=use_case,
                    version=version,
                    trained_at=MONDAY,
                    trained_by=by,
                    snapshot_id=1,
                    manifest={},
                    manifest_hash=f"manifest {version}",
                    report_hash=f"report {version}",
                    gate=gate,
                    reasons=["the gate has a reason"],
                    evaluation={},
                )
            )

    def approve(self, version: int, by: str, **other: Any) -> Approval:
        given = {"use_case": "aki_48h", "signer": self.signers[by], "reason": "looks right", **other}
        return approve(self.records, version=version, as_of=self.now(), **given)

    def promote(self, version: int, **other: Any) -> Promotion:
        return promote(self.records, use_case="aki_48h", version=version, as_of=self.now(), **other)

    def make_champion(self, version: int) -> Promotion:
        for name in ("gero", "clara"):
            self.approve(version, name)
        return self.promote(version)

    def stage(self, stage: str, by: str, **other: Any) -> StageChange:
        given = {
            "site_id": "demo",
            "sites": ("annex", "demo"),
            "use_case": "aki_48h",
            "signer": self.signers[by],
            "reason": "as planned",
            **other,
        }
        return set_stage(self.records, **{"stage": stage, "as_of": self.now(), **given})

    def read(self, question: Callable[..., Any], *about: Any, **other: Any) -> Any:
        with self.records.read() as connection:
            return question(connection, *about, **other)

    def entries(self) -> int:
        return int(self.read(audit.head).seq)

    def findings(self) -> list[Finding]:
        return list(self.read(verify))


def repeat(office: Office, kind: str) -> None:
    """Write every entry of a kind a second time, as somebody could who can write to the database."""
    with office.records.begin() as connection:
        for entry in list(audit.entries(connection, kind)):
            audit.append(
                connection, kind=kind, body=entry.body, at=entry.at, signer=entry.signer, signature=entry.signature
            )


@pytest.fixture
def empty_office(records: Records, home: Path) -> Office:
    """Nobody is registered yet."""
    with records.begin() as connection:
        connection.execute(insert(snapshot).values(snapshot_id=1, created_at=MONDAY, versions={}))
    return Office(records, home)


@pytest.fixture
def office(empty_office: Office) -> Office:
    """gero (governance), clara (clinician) and emil (engineer)."""
    empty_office.add("gero", "governance")
    empty_office.add("clara", "clinician", by="gero")
    empty_office.add("emil", "engineer", by="gero")
    return empty_office
