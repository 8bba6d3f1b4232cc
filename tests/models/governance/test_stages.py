"""How far a use case may go at a site."""

import pytest

from integrations.errors import NotInOrder, Refused, WrongUsage
from integrations.records import audit
from models.governance.people import remove_person
from models.governance.signing import sign_entry
from models.governance.stages import stage_of
from tests.models.governance.conftest import Office


def in_force(office: Office, site_id: str = "demo", use_case: str = "aki_48h", **other: object) -> object:
    return office.read(stage_of, site_id, use_case, **other)


def test_every_site_begins_off_and_a_promotion_does_not_change_it(office: Office) -> None:
    office.train(1)
    office.make_champion(1)
    assert in_force(office) == "off"


def test_one_person_sets_silent_and_off(office: Office) -> None:
    assert office.stage("silent", "emil").is_granted
    assert in_force(office) == "silent"
    assert office.stage("off", "clara").stage == "off"
    assert in_force(office) == "off"
    assert office.findings() == []


def test_live_takes_two_people(office: Office) -> None:
    office.stage("silent", "emil")
    asked = office.stage("live", "gero")
    assert (asked.stage, asked.is_granted, in_force(office)) == ("silent", False, "silent")
    with pytest.raises(Refused, match="gero has asked for live already"):
        office.stage("live", "gero")
    granted = office.stage("live", "clara")
    assert (granted.stage, granted.is_granted, in_force(office)) == ("live", True, "live")
    with pytest.raises(Refused, match="live at demo already"):
        office.stage("live", "emil")
    assert office.findings() == []


def test_stopping_a_live_use_case_takes_one_person_and_returning_takes_two(office: Office) -> None:
    office.stage("live", "gero")
    office.stage("live", "clara")
    office.stage("off", "emil")
    assert in_force(office) == "off"
    assert not office.stage("live", "clara").is_granted


def test_any_change_in_between_ends_a_request_for_live(office: Office) -> None:
    office.stage("live", "gero")
    office.stage("silent", "emil")
    assert not office.stage("live", "clara").is_granted
    assert in_force(office) == "silent"


def test_a_request_of_somebody_since_removed_does_not_count(office: Office) -> None:
    office.stage("live", "clara")
    remove_person(office.records, name="clara", signer=office.signers["gero"], reason="left", as_of=office.now())
    assert not office.stage("live", "gero").is_granted
    assert office.stage("live", "emil").is_granted


def test_a_stage_is_of_one_site_and_one_use_case(office: Office) -> None:
    office.stage("live", "gero")
    assert not office.stage("live", "clara", site_id="annex").is_granted
    assert not office.stage("live", "clara", use_case="readmission_30d").is_granted
    office.stage("live", "clara")
    assert in_force(office) == "live"
    assert in_force(office, site_id="annex") == "off"
    assert in_force(office, use_case="readmission_30d") == "off"


@pytest.mark.parametrize(("at_most", "expected"), [("off", "off"), ("silent", "silent"), ("live", "silent")])
def test_a_flag_lowers_the_stage_and_never_raises_it(office: Office, at_most: str, expected: str) -> None:
    office.stage("silent", "emil")
    assert in_force(office, at_most=at_most) == expected


@pytest.mark.parametrize("body", [{}, {"request": 4}, {"request": 99}])
def test_live_signed_by_one_person_alone_is_not_in_order(office: Office, body: dict[str, int]) -> None:
    office.stage("live", "emil")
    about = {"site_id": "demo", "use_case": "aki_48h", "stage": "live", "reason": "hurry"}
    with office.records.begin() as connection:
        sign_entry(connection, office.signers["emil"], kind="stage_set", body=about | body, at=office.now())
    with pytest.raises(NotInOrder, match="without a second person"):
        in_force(office)
    office.stage("off", "gero")
    assert in_force(office) == "off"


def test_an_unsigned_stage_is_not_in_order(office: Office) -> None:
    with office.records.begin() as connection:
        body = {"site_id": "demo", "use_case": "aki_48h", "stage": "silent"}
        audit.append(connection, kind="stage_set", body=body, at=office.now())
    with pytest.raises(NotInOrder, match="is not signed"):
        in_force(office)


def test_a_stage_that_is_none_is_wrong_usage(office: Office) -> None:
    with pytest.raises(WrongUsage, match="choose among: off, silent, live"):
        office.stage("loud", "emil")


def test_a_dry_run_says_the_stage_and_leaves_it(office: Office) -> None:
    assert office.stage("silent", "emil", dry_run=True).stage == "silent"
    assert in_force(office) == "off"
