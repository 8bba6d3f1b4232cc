"""What a server deletes becomes a retraction: known until then, withdrawn from then on, never vanished."""

import json
from typing import Any

import pytest

from integrations.ingest import ledger
from tests.integrations.ingest.conftest import MRN, Ward, blood_pressure, coded, encounter, patient, result


def deletion(*urls: str, **more: Any) -> dict[str, Any]:
    """One line of a bulk export's deleted file."""
    entries = [{"request": {"method": "DELETE", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries} | more


def send(ward: Ward, night: int, *lines: Any, is_history: bool = False, **files: Any) -> Any:
    """Send an extract with a file of deletions."""
    return ward.send(night=night, is_history=is_history, **{"deleted.000": list(lines)}, **files)


def test_a_deleted_result_is_known_until_then_and_withdrawn_from_then_on(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result()])
    account = send(open_ward, 2, deletion("Observation/o1")).accounts["observation"]
    assert (account.received, account.mapped) == (1, 1)
    [before] = open_ward.seen("value_number, is_retracted", "observation", 1)
    [after] = open_ward.seen("value_number, is_retracted, status", "observation", 2)
    assert before == (1.0, False)
    assert after == (1.0, True, "entered_in_error")


def test_the_parts_of_a_deleted_resource_go_with_it(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[blood_pressure("b1", 120, 80)])
    send(open_ward, 2, deletion("Observation/b1"))
    assert open_ward.seen("code, is_retracted", "observation", 2) == [("8462-4", True), ("8480-6", True)]


def test_a_deleted_patient_takes_her_links_with_her(open_ward: Ward) -> None:
    result = send(open_ward, 1, deletion("Patient/p1"))
    assert result.accounts["patient"].mapped == result.accounts["patient_link"].mapped == 1
    assert open_ward.seen("patient_id, sex, is_retracted", "patient", 1) == [("ward/p1", "female", True)]
    assert open_ward.seen("system, is_retracted", "patient_link", 1) == [(MRN, True)]


@pytest.mark.parametrize(("kind", "table"), [("Condition", "condition"), ("Procedure", "procedure")])
def test_deletions_of_any_type_reach_their_table(open_ward: Ward, kind: str, table: str) -> None:
    more = {} if kind == "Condition" else {"performedDateTime": "2024-03-02T10:00:00Z"}
    open_ward.send(night=1, **{kind: [coded(kind, "x1", "1", **more), coded(kind, "x2", "2", **more)]})
    send(open_ward, 2, deletion(f"{kind}/x1"))
    assert open_ward.seen("code, is_retracted", table, 2) == [("1", True), ("2", False)]


def test_one_bundle_deletes_resources_of_several_types(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1"), result("o2")])
    accounts = send(
        open_ward, 2, deletion("Observation/o1", "Encounter/e1", "https://ehr/fhir/Observation/o2")
    ).accounts
    assert (accounts["observation"].mapped, accounts["encounter"].mapped) == (1, 1)
    assert (accounts["patient"].out_of_scope, accounts["condition"].out_of_scope) == (1, 1)
    assert open_ward.seen("observation_id, is_retracted", "observation", 2) == [("ward/o1", True), ("ward/o2", True)]


def test_a_deletion_of_what_nobody_knows_is_counted_out_of_scope(open_ward: Ward) -> None:
    accounts = send(open_ward, 1, deletion("Observation/none"), deletion("Patient/none")).accounts
    assert [accounts[name].out_of_scope for name in ("observation", "patient")] == [2, 2]
    assert all(account.balances for account in accounts.values())
    assert open_ward.seen("patient_id", "patient", 1) == [("ward/p1",)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not_json"),
        ({"resourceType": "Patient", "id": "p1"}, "wrong_type"),
        ({"resourceType": "Bundle", "entry": []}, "missing_field"),
        ({"resourceType": "Bundle", "entry": [{"request": {"method": "PUT", "url": "Patient/p1"}}]}, "bad_value"),
        (deletion("Patient?identifier=1"), "bad_value"),
    ],
)
def test_a_deletion_that_cannot_be_read_is_quarantined_and_deletes_nothing(
    open_ward: Ward, line: Any, reason: str
) -> None:
    accounts = send(open_ward, 1, line if isinstance(line, str) else json.dumps(line)).accounts
    assert {name: account.quarantined for name, account in accounts.items()} == dict.fromkeys(accounts, 1)
    assert set(open_ward.reasons()) == {reason}
    assert open_ward.seen("is_retracted", "patient", 1) == [(False,)]


def test_in_history_a_patient_of_old_is_withdrawn_when_that_is_heard(ward: Ward) -> None:
    ward.send(is_history=True, Patient=[patient()])
    send(ward, 1, deletion("Patient/p1"), is_history=True)
    assert ward.seen("is_retracted", "patient", 0) == [(False,)]
    assert ward.seen("is_retracted", "patient", 1) == [(True,)]


def test_what_is_sent_again_after_its_deletion_is_there_again(open_ward: Ward) -> None:
    open_ward.send(night=1, Encounter=[encounter("e2")])
    send(open_ward, 2, deletion("Encounter/e2"))
    open_ward.send(night=3, Encounter=[encounter("e2"), encounter("e3")])
    assert open_ward.seen("is_retracted", "encounter", 2) == [(False,), (True,)]
    assert open_ward.seen("is_retracted", "encounter", 3) == [(False,), (False,), (False,)]


def test_what_the_server_says_of_its_errors_is_landed_and_counted(open_ward: Ward) -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
    result = open_ward.send(night=1, **{"error.000": [outcome]})
    assert result.accounts["none"].out_of_scope == 1


def manifest(ward: Ward, moment: str, **more: Any) -> Any:
    """An extract with the manifest of a bulk export."""
    folder = ward.extract(Patient=[patient("p2")])
    said = {"transactionTime": moment, "output": [{"type": "Patient", "url": "Patient.ndjson"}]} | more
    (folder / "manifest.json").write_text(json.dumps(said))
    return folder


def watermark(ward: Ward) -> str | None:
    """From when the next export would ask."""
    with ward.records.read() as db:
        moment = ledger.watermark_of(db, "ward", "")
    return moment.isoformat() if moment else None


def test_the_watermark_moves_with_the_commit_and_never_back(open_ward: Ward) -> None:
    assert watermark(open_ward) is None
    open_ward.ingest(manifest(open_ward, "2024-03-10T22:00:00-06:00"), night=1)
    assert watermark(open_ward) == "2024-03-11T04:00:00+00:00"
    open_ward.ingest(manifest(open_ward, "2024-03-01T00:00:00Z"), night=2)
    assert watermark(open_ward) == "2024-03-11T04:00:00+00:00"


def test_the_same_bytes_at_a_later_time_of_the_server_are_another_export(open_ward: Ward) -> None:
    first = open_ward.ingest(manifest(open_ward, "2024-03-10T22:00:00Z"), night=1)
    assert not open_ward.ingest(manifest(open_ward, "2024-03-10T22:00:00Z"), night=2).is_new
    again = open_ward.ingest(manifest(open_ward, "2024-03-11T22:00:00Z"), night=2)
    assert again.is_new
    assert again.extract_id != first.extract_id
    assert again.accounts["patient"].unchanged == 1
    assert watermark(open_ward) == "2024-03-11T22:00:00+00:00"


def test_an_export_with_errors_or_a_clock_ahead_leaves_nothing_out_of_the_next(open_ward: Ward) -> None:
    open_ward.ingest(manifest(open_ward, "2024-03-10T22:00:00Z", error=[{"url": "error.000.ndjson"}]), night=1)
    assert watermark(open_ward) is None
    open_ward.ingest(manifest(open_ward, "2031-01-01T00:00:00Z"), night=2)
    assert watermark(open_ward) == "2024-03-12T05:00:00+00:00"  # when it was received
