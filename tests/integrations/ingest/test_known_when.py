"""From when a fact counts as known: live feeds, history rules, corrections, withdrawals, and stays that end."""

from typing import Any

import pytest

from tests.integrations.ingest.conftest import Ward, blood_pressure, coded, encounter, patient, result

ENDED = "2024-03-04T12:00:00-06:00"


def known(ward: Ward, table: str, columns: str = "") -> list[tuple[Any, ...]]:
    """When each version was known, in UTC, with some columns before it."""
    at = "available_at::varchar"
    return ward.rows(f"select {f'{columns}, {at}' if columns else at} from {table} order by {at}, {columns or at}")


def test_a_live_result_is_known_when_it_was_received_not_when_it_was_issued(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result()])
    assert known(open_ward, "observation", "is_available_at_inferred") == [(False, "2024-03-11 05:00:00+00")]


def test_a_live_result_issued_after_its_receipt_is_known_when_it_was_issued(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result(issued="2024-03-11T06:00:00Z")])
    assert known(open_ward, "observation") == [("2024-03-11 06:00:00+00",)]


def test_in_history_a_result_is_known_when_it_was_issued_and_marked_inferred(open_ward: Ward) -> None:
    open_ward.send(night=1, is_history=True, Observation=[result()])
    assert known(open_ward, "observation", "is_available_at_inferred") == [(True, "2024-03-02 17:00:00+00")]


def test_a_history_rule_that_gives_nothing_means_received(open_ward: Ward) -> None:
    open_ward.send(night=1, is_history=True, Observation=[result(issued=None)])
    assert known(open_ward, "observation") == [("2024-03-11 05:00:00+00",)]


def test_in_history_a_diagnosis_is_known_some_days_after_the_stay_ended_and_never_after_receipt(ward: Ward) -> None:
    stays = [encounter(ends="2024-03-02T12:00:00Z"), encounter("e2", ends=ENDED), encounter("e3")]
    diagnoses = [coded("Condition", f"c{n}", "1") for n in (1, 2, 3)]
    for diagnosis, stay in zip(diagnoses, ("e1", "e2", "e3"), strict=True):
        diagnosis["encounter"] = {"reference": f"Encounter/{stay}"}
    ward.send(is_history=True, Patient=[patient()], Encounter=stays, Condition=diagnoses)
    assert known(ward, "condition", "condition_id") == [
        ("ward/c1", "2024-03-09 12:00:00+00"),
        ("ward/c2", "2024-03-10 05:00:00+00"),
        ("ward/c3", "2024-03-10 05:00:00+00"),
    ]


def test_in_history_the_end_of_a_stay_was_known_when_it_ended(ward: Ward) -> None:
    home = {"dischargeDisposition": {"coding": [{"code": "home"}]}}
    ward.send(is_history=True, Patient=[patient()], Encounter=[encounter(ends=ENDED, hospitalization=home)])
    assert known(ward, "encounter", "ended_at::varchar, discharge_disposition") == [
        (None, None, "2024-03-01 14:00:00+00"),
        ("2024-03-04 18:00:00+00", "home", "2024-03-04 18:00:00+00"),
    ]


def test_in_history_a_death_is_not_known_before_it_happened(ward: Ward) -> None:
    ward.send(is_history=True, Patient=[patient(deceasedDateTime="2024-03-04T12:00:00Z")])
    assert known(ward, "patient", "deceased_at::varchar") == [
        (None, "1900-01-01 00:00:00+00"),
        ("2024-03-04 12:00:00+00", "2024-03-04 12:00:00+00"),
    ]


def test_a_death_known_by_its_day_is_at_the_end_of_that_day_in_the_feeds_time_zone(ward: Ward) -> None:
    done = ward.send(Patient=[patient(deceasedDateTime="2024-03-04"), patient("bystander")])
    assert done.quarantined == {}
    assert ward.rows("select is_deceased, deceased_at::varchar from patient order by patient_id") == [
        (False, None),
        (True, "2024-03-05 05:59:59.999999+00"),
    ]


def test_a_death_on_the_day_of_receipt_is_not_in_the_future(ward: Ward) -> None:
    assert ward.send(Patient=[patient(deceasedDateTime="2024-03-10")]).quarantined == {}


@pytest.mark.parametrize(
    "death", [{"deceasedBoolean": True}, {"deceasedDateTime": "2024"}, {"deceasedDateTime": "2024-03"}]
)
def test_a_death_of_which_no_day_is_known_is_a_death_from_its_receipt_on(ward: Ward, death: dict[str, Any]) -> None:
    ward.send(Patient=[patient(), patient("bystander", deceasedBoolean=False)])
    done = ward.send(night=1, Patient=[patient(**death)])
    assert done.quarantined == {}
    assert ward.seen("patient_id, is_deceased, deceased_at", "patient", 0.5) == [
        ("ward/bystander", False, None),
        ("ward/p1", False, None),
    ]
    assert ward.seen("patient_id, is_deceased, deceased_at", "patient", 1.5) == [
        ("ward/bystander", False, None),
        ("ward/p1", True, None),
    ]


def test_in_history_a_death_of_which_no_day_is_known_counts_from_receipt(ward: Ward) -> None:
    ward.send(is_history=True, Patient=[patient(deceasedBoolean=True)])
    assert known(ward, "patient", "is_deceased") == [
        (False, "1900-01-01 00:00:00+00"),
        (True, "2024-03-10 05:00:00+00"),
    ]


def test_a_death_that_was_sent_by_mistake_is_taken_back(ward: Ward) -> None:
    for night, death in enumerate(({"deceasedDateTime": "2024-03-04"}, {})):
        ward.send(night=night, Patient=[patient(**death)])
    assert ward.seen("is_deceased, deceased_at", "patient", 2) == [(False, None)]


@pytest.mark.parametrize("death", ["2024-02-30", "2024-13", "24", "yes"])
def test_a_death_that_is_no_date_is_a_bad_time(ward: Ward, death: str) -> None:
    assert ward.send(Patient=[patient(deceasedDateTime=death), patient("bystander")]).quarantined == {"bad_time": 1}


def test_in_history_that_a_medication_was_stopped_is_not_known_at_its_start(open_ward: Ward) -> None:
    order = coded("MedicationRequest", "m1", "1", status="stopped", intent="order", authoredOn="2024-03-02T12:00:00Z")
    order["medicationCodeableConcept"] = order.pop("code")
    open_ward.send(night=1, is_history=True, MedicationRequest=[order])
    assert known(open_ward, "medication", "status") == [
        ("active", "2024-03-02 12:00:00+00"),
        ("stopped", "2024-03-11 05:00:00+00"),
    ]


def test_a_stay_that_is_first_seen_when_it_has_ended_is_admitted_and_discharged(ward: Ward) -> None:
    ward.send(Patient=[patient()], Encounter=[encounter(ends=ENDED)])
    assert known(ward, "encounter", "ended_at is null") == [
        (True, "2024-03-10 04:59:59.999999+00"),
        (False, "2024-03-10 05:00:00+00"),
    ]


def test_a_stay_that_was_known_gets_one_version_when_it_ends(open_ward: Ward) -> None:
    open_ward.send(night=1, Encounter=[encounter(ends=ENDED)])
    assert known(open_ward, "encounter", "ended_at is null") == [
        (True, "2024-03-10 05:00:00+00"),
        (False, "2024-03-11 05:00:00+00"),
    ]


def test_a_corrected_result_replaces_the_first_one_only_from_its_receipt_on(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result(value=1.0), result("o2", 3.0)])
    open_ward.send(night=2, Observation=[result(value=2.0, status="corrected")])
    assert open_ward.seen("value_number, status", "observation", 1) == [(1.0, "final"), (3.0, "final")]
    assert open_ward.seen("value_number, status", "observation", 2) == [(2.0, "corrected"), (3.0, "final")]


def test_of_two_versions_in_one_extract_the_later_issued_is_seen_whatever_the_order_of_the_lines(
    open_ward: Ward,
) -> None:
    corrected = result(value=2.0, issued="2024-03-02T13:00:00Z", status="corrected")
    done = open_ward.send(night=1, Observation=[corrected, result(value=1.0, issued="2024-03-02T12:00:00Z")])
    assert done.accounts["observation"].mapped == 2
    assert open_ward.seen("value_number", "observation", 1) == [(2.0,)]


def test_the_same_record_twice_in_one_extract_is_one_version_and_the_copy_is_unchanged(open_ward: Ward) -> None:
    done = open_ward.send(night=1, Observation=[result(), result(), result("o2")])
    account = done.accounts["observation"]
    assert (account.mapped, account.unchanged, account.rows_written) == (2, 1, 2)


def test_a_withdrawn_result_is_no_longer_seen_but_was_seen_before(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result(), result("o2")])
    withdrawn = result(status="entered-in-error")
    del withdrawn["valueQuantity"]
    open_ward.send(night=2, Observation=[withdrawn])
    columns = "observation_id, value_number, status, is_retracted"
    assert open_ward.seen(columns, "observation", 1)[0] == ("ward/o1", 1.0, "final", False)
    assert open_ward.seen(columns, "observation", 2) == [
        ("ward/o1", 1.0, "entered_in_error", True),
        ("ward/o2", 1.0, "final", False),
    ]


def test_a_withdrawn_record_takes_all_its_values_with_it(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[blood_pressure("b1", 120, 80), result("b2")])
    withdrawn = {name: value for name, value in blood_pressure("b1", 1, 1).items() if name not in ("component", "code")}
    done = open_ward.send(night=2, Observation=[withdrawn | {"status": "entered-in-error"}])
    assert done.quarantined == {}
    assert open_ward.seen("observation_id, is_retracted", "observation", 2) == [
        ("ward/b1#8462-4", True),
        ("ward/b1#8480-6", True),
        ("ward/b2", False),
    ]


def test_a_withdrawal_of_something_unknown_that_says_nothing_is_quarantined(open_ward: Ward) -> None:
    nothing = {name: value for name, value in result("o7").items() if name not in ("code", "valueQuantity")}
    done = open_ward.send(night=1, Observation=[nothing | {"status": "entered-in-error"}])
    assert done.quarantined == {"missing_field": 1}


def test_what_is_sent_again_unchanged_adds_no_version_and_no_record(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result(), result("o2")])
    done = open_ward.send(night=2, Observation=[result("o2"), result(), result("o3")])
    assert (done.accounts["observation"].mapped, done.accounts["observation"].unchanged) == (1, 2)
    report = open_ward.report("observation")
    assert (report["records"], report["facts"], report["versions"]) == (3, 3, 3)


def test_a_value_that_goes_back_to_what_it_was_is_a_version_of_its_own(open_ward: Ward) -> None:
    for night, value in enumerate((1.0, 2.0, 1.0), 1):
        open_ward.send(night=night, Observation=[result(value=value, issued=f"2024-03-0{night}T12:00:00Z")])
    assert [open_ward.seen("value_number", "observation", night) for night in (1, 2, 3)] == [
        [(1.0,)],
        [(2.0,)],
        [(1.0,)],
    ]


def test_in_history_what_a_daily_extract_would_have_brought_is_known_from_that_extract_on(ward: Ward) -> None:
    file = ward.places.sources / "ward" / "contract.yaml"
    file.write_text(file.read_text() + 'history_extract_at: "23:45:00"\n')
    late = result("o2", issued="2024-03-02T23:50:00-06:00")
    ward.send(is_history=True, Patient=[patient()], Encounter=[encounter(ends=ENDED)], Observation=[result(), late])
    assert known(ward, "observation") == [("2024-03-03 05:45:00+00",), ("2024-03-04 05:45:00+00",)]
    assert known(ward, "encounter", "ended_at is null") == [
        (True, "2024-03-02 05:45:00+00"),
        (False, "2024-03-05 05:45:00+00"),
    ]
    assert known(ward, "patient") == [("1900-01-01 00:00:00+00",)]


def test_a_withdrawal_of_a_code_that_the_contract_has_dropped_since_is_quarantined(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result()])
    codes = open_ward.places.sources / "ward" / "codes.csv"
    codes.write_text("\n".join(line for line in codes.read_text().splitlines() if "2160-0" not in line) + "\n")
    without_code = {name: value for name, value in result().items() if name not in ("code", "valueQuantity")}
    done = open_ward.send(night=2, Observation=[without_code | {"status": "entered-in-error"}])
    assert done.quarantined == {"missing_field": 1}
