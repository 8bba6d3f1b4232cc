"""Which version speaks, and how it steps back."""

import pytest
from sqlalchemy import text

from integrations.errors import NotInOrder, Refused, WrongUsage
from integrations.records import audit
from integrations.records.audit_check import Finding
from models.governance.people import remove_person
from models.governance.promotion import challenger, champion, promote, rollback, versions_report
from tests.models.governance.conftest import MONDAY, Office, repeat


def roll_back(office: Office, by: str = "emil", reason: str = "too many alarms", dry_run: bool = False) -> object:
    signer = office.signers[by]
    return rollback(
        office.records, use_case="aki_48h", signer=signer, reason=reason, as_of=office.now(), dry_run=dry_run
    ).champion


def test_a_version_is_promoted_only_with_a_complete_approval(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    with pytest.raises(Refused, match="has 1 of 2 approvals"):
        office.promote(1)
    assert office.read(champion, "aki_48h") is None
    office.approve(1, "clara")
    promotion = office.promote(1)
    assert (promotion.champion, promotion.previous, promotion.is_new) == (1, None, True)
    assert office.read(champion, "aki_48h") == 1
    assert office.read(champion, "readmission_30d") is None
    assert office.findings() == []


def test_promoting_the_champion_again_changes_nothing(office: Office) -> None:
    for version in (1, 2):
        office.train(version)
        office.make_champion(version)
    before = office.entries()
    again = office.promote(2)
    assert (again.champion, again.previous, again.is_new) == (2, 1, False)
    assert office.entries() == before


def test_an_approver_who_left_does_not_promote(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    office.approve(1, "clara")
    remove_person(office.records, name="clara", signer=office.signers["gero"], reason="left", as_of=office.now())
    with pytest.raises(Refused, match="has 1 of 2 approvals"):
        office.promote(1)


def test_a_champion_stays_one_when_an_approver_leaves_later(office: Office) -> None:
    office.train(1)
    office.make_champion(1)
    remove_person(office.records, name="clara", signer=office.signers["gero"], reason="left", as_of=office.now())
    assert office.read(champion, "aki_48h") == 1


def test_a_champion_touched_after_its_approval_is_not_in_order(office: Office) -> None:
    office.train(1)
    office.make_champion(1)
    with office.records.begin() as connection:
        connection.execute(text("update model_version set report_hash = 'another'"))
    with pytest.raises(NotInOrder, match="champion without 2 signatures"):
        office.read(champion, "aki_48h")


@pytest.mark.parametrize("approvals", [[], [5], [5, 5], [6, 7]])
def test_a_promotion_written_without_two_approvals_is_not_in_order(office: Office, approvals: list[int]) -> None:
    office.train(1)
    office.train(2)
    office.approve(2, "gero")
    office.approve(1, "gero")
    with office.records.begin() as connection:
        body = {"use_case": "aki_48h", "version": 1, "previous": None, "approvals": approvals}
        audit.append(connection, kind="promoted", body=body, at=office.now())
    with pytest.raises(NotInOrder, match="champion without 2 signatures"):
        office.read(champion, "aki_48h")


def test_one_person_rolls_back_to_the_champion_before(office: Office) -> None:
    for version in (1, 2, 3):
        office.train(version)
        office.make_champion(version)
    assert roll_back(office, dry_run=True) == 2
    assert office.read(champion, "aki_48h") == 3
    assert [roll_back(office), roll_back(office)] == [2, 1]
    assert office.read(champion, "aki_48h") == 1
    with pytest.raises(Refused, match="no earlier champion"):
        roll_back(office)
    assert office.findings() == []


def test_nothing_to_roll_back_is_refused_and_so_is_no_reason(office: Office) -> None:
    with pytest.raises(Refused, match="no earlier champion"):
        roll_back(office)
    with pytest.raises(WrongUsage, match="needs a reason"):
        roll_back(office, reason="")


def test_a_version_rolled_back_needs_new_approvals_to_return(office: Office) -> None:
    for version in (1, 2):
        office.train(version)
        office.make_champion(version)
    roll_back(office)
    with pytest.raises(Refused, match="has 0 of 2 approvals"):
        office.promote(2)
    office.make_champion(2)
    assert office.read(champion, "aki_48h") == 2


def write_promotion(office: Office, version: int) -> None:
    """Write a promotion that names every approval the version ever had, as who can write to the database could."""
    with office.records.begin() as connection:
        approved = [entry.seq for entry in audit.entries(connection, "approved") if entry.body["version"] == version]
        body = {"use_case": "aki_48h", "version": version, "previous": 1, "approvals": approved}
        audit.append(connection, kind="promoted", body=body, at=office.now())


def test_a_promotion_written_after_a_rollback_over_the_old_approvals_is_found_and_rolled_back(office: Office) -> None:
    for version in (1, 2):
        office.train(version)
        office.make_champion(version)
    roll_back(office)
    write_promotion(office, 2)
    with pytest.raises(NotInOrder, match="aki_48h 2 is champion without 2 signatures"):
        office.read(champion, "aki_48h")
    assert office.findings() == [Finding(11, "promotes aki_48h 2 without 2 approvals that stand")]
    with pytest.raises(Refused, match="has 0 of 2 approvals"):
        office.promote(2)
    assert roll_back(office) == 1
    assert office.read(champion, "aki_48h") == 1


@pytest.mark.parametrize("kind", ["approved", "rolled_back"])
def test_signatures_written_again_promote_and_roll_back_nothing(office: Office, kind: str) -> None:
    for version in (1, 2, 3):
        office.train(version)
        office.make_champion(version)
    roll_back(office)
    repeat(office, kind)
    with pytest.raises(NotInOrder, match="used before"):
        office.promote(3)
    assert {finding.what for finding in office.findings()} == {"carries a signature that was used before"}


def test_a_promotion_over_approvals_of_somebody_removed_before_it_is_not_in_order(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    office.approve(1, "clara")
    remove_person(office.records, name="clara", signer=office.signers["gero"], reason="left", as_of=office.now())
    write_promotion(office, 1)
    with pytest.raises(NotInOrder, match="champion without 2 signatures"):
        office.read(champion, "aki_48h")
    assert office.findings() == [Finding(7, "promotes aki_48h 1 without 2 approvals that stand")]


def test_the_trainer_s_own_approval_and_a_version_that_nobody_registered_are_found(office: Office) -> None:
    office.train(1)
    office.make_champion(1)
    write_promotion(office, 9)
    with office.records.begin() as connection:
        connection.execute(text("update model_version set trained_by = 'Clara'"))
    assert office.findings() == [
        Finding(6, "promotes aki_48h 1 without 2 approvals that stand"),
        Finding(7, "promotes a version that is not registered"),
    ]


def test_the_challenger_is_the_newest_passing_version_that_was_never_promoted(office: Office) -> None:
    assert office.read(challenger, "aki_48h") is None
    for version, gate in ((1, "pass"), (2, "pass"), (3, "fail")):
        office.train(version, gate=gate)
    assert office.read(challenger, "aki_48h") == 2
    office.make_champion(2)
    assert office.read(challenger, "aki_48h") is None
    office.train(4)
    assert office.read(challenger, "aki_48h") == 4


def test_the_versions_are_reported_with_alias_gate_and_approvers(office: Office) -> None:
    office.train(1)
    office.make_champion(1)
    office.train(2, gate="not enough data")
    office.train(3)
    office.approve(3, "emil")
    common = {"trained_at": MONDAY.isoformat(), "reasons": ["the gate has a reason"]}
    assert versions_report(office.records, "aki_48h") == [
        {"version": 1, "aliases": ["champion"], "gate": "pass", "approved_by": ["gero", "clara"], **common},
        {"version": 2, "aliases": [], "gate": "not enough data", "approved_by": [], **common},
        {"version": 3, "aliases": ["challenger"], "gate": "pass", "approved_by": ["emil"], **common},
    ]
    assert versions_report(office.records, "readmission_30d") == []


def test_a_dry_run_promotes_nothing(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    office.approve(1, "clara")
    assert promote(office.records, use_case="aki_48h", version=1, as_of=MONDAY, dry_run=True).champion == 1
    assert office.read(champion, "aki_48h") is None
