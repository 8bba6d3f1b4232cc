"""How far a use case may go at a site."""

from datetime import timedelta

import pytest

from integrations.errors import NotInOrder, Refused, WrongUsage
from integrations.records import audit
from integrations.records.audit_check import Finding
from models.governance.people import remove_person
from models.governance.signing import sign_entry
from models.governance.stages import stage_of
from tests.models.governance.conftest import MONDAY, Office


def in_force(office: Office, site_id: str = "demo", use_case: str = "aki_48h") -> object:
    return office.read(stage_of, site_id, use_case)


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


@pytest.mark.parametrize("stage", ["off", "silent", "live"])
def test_a_mistyped_site_is_refused_with_the_nearest_one_and_nothing_is_written(office: Office, stage: str) -> None:
    office.stage("silent", "emil")
    before = office.entries()
    with pytest.raises(WrongUsage, match=r"no contract names the site dmeo(.|\n)*did you mean demo\?"):
        office.stage(stage, "emil", site_id="dmeo")
    assert office.entries() == before
    assert in_force(office) == "silent"


def test_a_site_whose_contract_is_gone_can_still_be_stopped_once(office: Office) -> None:
    office.stage("silent", "emil")
    assert office.stage("off", "emil", sites=("annex",)).stage == "off"
    with pytest.raises(WrongUsage, match="no contract names the site demo"):
        office.stage("off", "emil", sites=("annex",))


def test_a_request_for_live_can_be_granted_for_seven_days(office: Office) -> None:
    office.stage("live", "gero", as_of=MONDAY)
    assert office.stage("live", "clara", as_of=MONDAY + timedelta(days=7)).is_granted
    assert office.findings() == []


def test_a_request_for_live_that_has_expired_does_not_count_and_the_next_one_asks_anew(office: Office) -> None:
    office.stage("live", "gero", as_of=MONDAY)
    late = MONDAY + timedelta(days=7, seconds=1)
    asked = office.stage("live", "clara", as_of=late)
    assert (asked.is_granted, asked.expired_request_by, in_force(office)) == (False, "gero", "off")
    assert office.stage("live", "gero", as_of=late).is_granted
    office.stage("off", "gero", as_of=late)
    office.stage("live", "gero", as_of=late)
    again = office.stage("live", "gero", as_of=late + timedelta(days=8))
    assert (again.is_granted, again.expired_request_by) == (False, "gero")


def test_live_granted_on_an_expired_request_is_not_in_order_and_is_found(office: Office) -> None:
    office.stage("live", "gero", as_of=MONDAY)
    body = {"site_id": "demo", "use_case": "aki_48h", "stage": "live", "reason": "hurry", "request": office.entries()}
    with office.records.begin() as connection:
        late = MONDAY + timedelta(days=300)
        sign_entry(connection, office.signers["clara"], kind="stage_set", body=body, at=late)
    with pytest.raises(NotInOrder, match="asked for it in the 7 days before"):
        in_force(office)
    assert office.findings() == [Finding(5, "sets live without a request of a second person in the week before")]


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
