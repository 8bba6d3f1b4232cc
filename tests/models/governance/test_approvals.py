"""Two people say yes, each with their own key, or a version does not go to patients."""

import pytest
from sqlalchemy import text

from integrations.errors import NotInOrder, Refused, WrongUsage
from integrations.records import audit
from integrations.records.audit_check import Finding
from models.governance.approvals import approval_of
from models.governance.people import remove_person
from tests.models.governance.conftest import Office, repeat


def test_the_second_person_makes_the_approval_complete(office: Office) -> None:
    office.train(1)
    first = office.approve(1, "gero")
    second = office.approve(1, "clara")
    assert (first.approved_by, first.is_complete) == (("gero",), False)
    assert (second.approved_by, second.is_complete) == (("gero", "clara"), True)
    assert office.findings() == []


def test_what_is_signed_names_the_hashes_of_artifact_and_report(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero", reason="  calibration is good ")
    (entry,) = office.read(lambda connection: list(audit.entries(connection, "approved")))
    assert entry.body == {
        "use_case": "aki_48h",
        "version": 1,
        "manifest_hash": "manifest 1",
        "report_hash": "report 1",
        "decision": "approve",
        "reason": "calibration is good",
    }
    assert entry.signer == "gero"


def test_the_same_person_counts_once(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    with pytest.raises(Refused, match="gero has approved aki_48h 1 already"):
        office.approve(1, "gero")


def test_the_trainer_does_not_approve_their_own_version(office: Office) -> None:
    office.train(1, by="emil")
    with pytest.raises(Refused, match="emil trained aki_48h 1"):
        office.approve(1, "emil")
    office.train(2, by="gero")
    assert office.approve(2, "emil").approved_by == ("emil",)


@pytest.mark.parametrize("trainer", ["ada osei", "Ada  Osei", "ADA.OSEI", "\uff21da Osei"])
def test_the_trainer_is_known_in_any_spelling(office: Office, trainer: str) -> None:
    office.add("Ada Osei", "engineer", by="gero")
    office.train(1, by=trainer)
    with pytest.raises(Refused, match="Ada Osei trained aki_48h 1"):
        office.approve(1, "Ada Osei")


def test_an_approval_of_the_trainer_from_before_is_not_counted(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    with office.records.begin() as connection:
        connection.execute(text("update model_version set trained_by = 'Gero'"))
    assert office.approve(1, "clara").approved_by == ("clara",)


def test_a_version_trained_without_a_name_is_approved_by_two_who_are_told(office: Office) -> None:
    office.train(1, by="unnamed")
    office.train(2)
    assert not office.approve(1, "gero").is_trainer_known
    assert office.approve(1, "clara").is_complete
    assert office.approve(2, "gero").is_trainer_known


@pytest.mark.parametrize("gate", ["fail", "not enough data"])
def test_a_version_whose_gate_did_not_pass_is_not_approved(office: Office, gate: str) -> None:
    office.train(1, gate=gate)
    with pytest.raises(Refused, match=f"says {gate}: the gate has a reason"):
        office.approve(1, "gero")


def test_a_version_that_does_not_exist_is_refused_with_those_that_do(office: Office) -> None:
    office.train(1)
    office.train(2, use_case="readmission_30d")
    with pytest.raises(Refused, match="choose among: 1"):
        office.approve(2, "gero")
    with pytest.raises(Refused, match="choose among: none"):
        office.approve(1, "gero", use_case="sepsis")


def test_a_decision_without_a_reason_is_wrong_usage(office: Office) -> None:
    office.train(1)
    with pytest.raises(WrongUsage, match="needs a reason"):
        office.approve(1, "gero", reason=" ")


def test_an_approval_is_for_one_version_and_one_use_case(office: Office) -> None:
    office.train(1)
    office.train(2)
    office.train(1, use_case="readmission_30d")
    office.approve(1, "gero")
    assert office.read(approval_of, "aki_48h", 2).approved_by == ()
    assert office.read(approval_of, "readmission_30d", 1).approved_by == ()
    assert office.approve(2, "gero").approved_by == ("gero",)


def test_a_version_touched_after_the_signature_has_no_approval(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    with office.records.begin() as connection:
        connection.execute(text("update model_version set manifest_hash = 'another'"))
    assert office.read(approval_of, "aki_48h", 1).approved_by == ()


def test_an_approval_of_somebody_since_removed_does_not_count(office: Office) -> None:
    office.train(1)
    office.approve(1, "clara")
    remove_person(office.records, name="clara", signer=office.signers["gero"], reason="key lost", as_of=office.now())
    assert office.approve(1, "gero").approved_by == ("gero",)
    assert office.approve(1, "emil").is_complete


def test_a_forged_approval_stops_the_reader(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    (true,) = office.read(lambda connection: list(audit.entries(connection, "approved")))
    with office.records.begin() as connection:
        audit.append(
            connection, kind="approved", body=true.body, at=office.now(), signer="clara", signature=true.signature
        )
    with pytest.raises(NotInOrder, match=r"entry 5 \(approved\) is not signed"):
        office.approve(1, "emil")


def test_a_signature_that_comes_again_stops_the_reader(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    repeat(office, "approved")
    with pytest.raises(NotInOrder, match="carries a signature that was used before"):
        office.approve(1, "clara")
    assert office.findings() == [Finding(5, "carries a signature that was used before")]


def test_a_signature_given_after_the_signer_was_removed_stops_the_reader(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    (true,) = office.read(lambda connection: list(audit.entries(connection, "approved")))
    remove_person(office.records, name="clara", signer=office.signers["gero"], reason="left", as_of=office.now())
    with office.records.begin() as connection:
        at = office.now()
        signature = office.signers["clara"].key.sign(audit.signed_text("approved", true.body, at)).hex()
        audit.append(connection, kind="approved", body=true.body, at=at, signer="clara", signature=signature)
    with pytest.raises(NotInOrder, match="not registered at that time"):
        office.approve(1, "emil")


def test_a_dry_run_says_what_the_approval_would_do_and_leaves_it(office: Office) -> None:
    office.train(1)
    office.approve(1, "gero")
    assert office.approve(1, "clara", dry_run=True).is_complete
    assert office.read(approval_of, "aki_48h", 1).approved_by == ("gero",)
