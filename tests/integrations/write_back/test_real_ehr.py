"""Write-back to a real FHIR server."""

from datetime import timedelta

import httpx
import pytest

from integrations.records import Records
from integrations.write_back.fhir_target import open_fhir_target
from integrations.write_back.file_target import bundle
from integrations.write_back.outbox import outbox_report, outbox_rows
from integrations.write_back.permit import Permits
from integrations.write_back.send import write_back
from integrations.write_back.target import Delivery, Outgoing
from tests.integrations.write_back.conftest import NIGHT, SYSTEM, Queue
from tests.integrations.write_back.dying import DiesBeforeCommit

pytestmark = [pytest.mark.part, pytest.mark.xdist_group("real EHR")]  # one installs its packages and starts it


def held_by(ehr: httpx.Client) -> list[str]:
    entries = ehr.get("/RiskAssessment").json().get("entry", [])
    return sorted(each["resource"]["subject"]["reference"] for each in entries)


def test_a_real_server_takes_each_score_once_however_often_it_is_sent(
    sqlite_records: Records, queue_sqlite: Queue, permits: Permits, ehr: httpx.Client
) -> None:
    queue_sqlite("1", "2")
    with open_fhir_target(str(ehr.base_url), "token") as target:
        for night in range(2):
            counts = write_back(
                sqlite_records,
                target=target,
                permits=permits,
                identifier_system=SYSTEM,
                as_of=NIGHT + timedelta(days=night),
            )
            assert counts.acknowledged == (2 if night == 0 else 0)
    assert held_by(ehr) == ["Patient/1", "Patient/2"]
    with sqlite_records.read() as connection:
        location = outbox_rows(connection, ["acknowledged"])[0].location
    assert location
    assert ehr.get(f"/{location}").json()["subject"] == {"reference": "Patient/1"}


def test_one_that_died_between_its_post_and_its_commit_leaves_one_behind(
    sqlite_records: Records, queue_sqlite: Queue, permits: Permits, ehr: httpx.Client
) -> None:
    queue_sqlite("1")
    dying = DiesBeforeCommit(sqlite_records.engine)
    with open_fhir_target(str(ehr.base_url)) as target:
        with pytest.raises(KeyboardInterrupt):
            write_back(dying, target=target, permits=permits, identifier_system=SYSTEM, as_of=NIGHT)
        assert held_by(ehr) == ["Patient/1"]
        for minutes in (1, 20):
            moment = NIGHT + timedelta(minutes=minutes)
            write_back(sqlite_records, target=target, permits=permits, identifier_system=SYSTEM, as_of=moment)
    assert held_by(ehr) == ["Patient/1"]
    with sqlite_records.read() as connection:
        assert outbox_report(connection)["acknowledged"] == 1


def test_a_real_server_refuses_what_is_no_risk_assessment_and_the_reason_holds_none_of_its_words(
    outgoing: Outgoing, ehr: httpx.Client
) -> None:
    outgoing.resource["colour"] = "red"
    with open_fhir_target(str(ehr.base_url)) as target:
        assert list(target.send([outgoing])) == [Delivery(status="dead", reason="refused with 400 (structure)")]


def test_a_real_server_takes_a_bundle_of_the_file_target_once(outgoing: Outgoing, ehr: httpx.Client) -> None:
    for _ in range(2):
        assert ehr.post("/", json=bundle([outgoing])).status_code == 200
    assert held_by(ehr) == ["Patient/p1"]


def test_two_of_one_identifier_are_for_people_to_put_right(outgoing: Outgoing, ehr: httpx.Client) -> None:
    for _ in range(2):
        ehr.post("/RiskAssessment", json=outgoing.resource)
    with open_fhir_target(str(ehr.base_url)) as target:
        (delivery,) = target.send([outgoing])
    assert delivery.status == "dead"
    assert delivery.reason
    assert delivery.reason.startswith("the EHR holds 2 of this identifier: ")
