"""A record that refers to a patient or stay not yet seen waits, and is taken up when it arrives."""

import pytest
from sqlalchemy import select

from integrations.errors import Refused
from integrations.ingest import quarantine_report
from integrations.records.schema import waiting
from tests.integrations.ingest.conftest import CODES, Ward, encounter, patient, result


def test_a_result_waits_for_its_patient_and_is_known_from_its_uptake_on(open_ward: Ward) -> None:
    first = open_ward.send(night=1, Observation=[result("o1", of="p2", stay=None), result("o2")])
    assert (first.accounts["observation"].waiting, first.accounts["observation"].mapped) == (1, 1)
    assert open_ward.report("observation")["waiting"] == 1

    second = open_ward.send(night=3, Patient=[patient("p2")])
    account = second.accounts["observation"]
    assert (account.received, account.taken_up, account.rows_written) == (0, 1, 1)
    assert open_ward.rows(
        "select available_at::varchar, extract_id, source_line from observation where patient_id = 'ward/p2'"
    ) == [("2024-03-13 05:00:00+00", first.extract_id, 1)]
    report = open_ward.report("observation")
    assert (report["waiting"], report["records"], report["facts"]) == (0, 2, 2)


def test_a_result_waits_for_its_patient_then_for_its_stay(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1", of="p2", stay="e2")])
    open_ward.send(night=2, Patient=[patient("p2")])
    with open_ward.records.read() as db:
        [row] = db.execute(select(waiting)).all()
    assert (row.waits_for_table, row.waits_for, row.taken_up_at) == ("encounter", "ward/e2", None)

    done = open_ward.send(night=3, Encounter=[encounter("e2", "p2")])
    assert done.accounts["observation"].taken_up == 1


def test_a_stay_that_waited_lets_in_what_waited_for_it_in_the_same_ingest(open_ward: Ward) -> None:
    open_ward.send(night=1, Encounter=[encounter("e2", "p2")], Observation=[result("o1", of="p2", stay="e2")])
    done = open_ward.send(night=2, Patient=[patient("p2")])
    assert {table: account.taken_up for table, account in done.accounts.items() if account.taken_up} == {
        "encounter": 1,
        "observation": 1,
    }


def test_what_comes_in_the_same_extract_need_not_wait(ward: Ward) -> None:
    done = ward.send(Observation=[result()], Encounter=[encounter()], Patient=[patient()])
    assert done.accounts["observation"].mapped == 1


def test_a_feed_that_speaks_of_patients_of_another_waits_until_that_one_has_linked_the_identifier(ward: Ward) -> None:
    ward.send(night=0, Patient=[patient("p1", mrn="m1")], Encounter=[encounter()])
    first = ward.send(night=1, source="lab", Observation=[result("l1", of="m1"), result("l2", of="m2")])
    assert (first.accounts["observation"].mapped, first.accounts["observation"].waiting) == (1, 1)
    assert ward.rows("select patient_id, encounter_id from observation") == [("lab/m1", "ward/e1")]

    second = ward.send(night=2, Patient=[patient("p2", mrn="m2")])
    assert second.accounts["observation"].taken_up == 1
    assert ward.rows("select patient_id, source from observation order by 1") == [("lab/m1", "lab"), ("lab/m2", "lab")]


def test_a_record_that_waited_and_turns_out_bad_is_quarantined_where_it_came_from(open_ward: Ward) -> None:
    first = open_ward.send(night=1, Observation=[result("o1", of="p2", stay=None)])
    kept = [line for line in CODES.splitlines() if "2160-0" not in line]
    (open_ward.places.sources / "ward" / "codes.csv").write_text("\n".join(kept) + "\n")
    done = open_ward.send(night=2, Patient=[patient("p2")])
    assert done.accounts["patient"].quarantined == 0
    assert open_ward.reasons() == {"unknown_code": 1}
    report = open_ward.report("observation")
    assert (report["waiting"], report["quarantined"], report["records"]) == (0, 1, 1)
    [row] = quarantine_report(open_ward.records, "ward")["rows"]
    assert (row["extract_id"], row["source_line"]) == (first.extract_id, 1)
    assert quarantine_report(open_ward.records, "lab")["rows"] == []


def test_a_record_that_waits_and_is_sent_again_is_one_record_and_one_fact(open_ward: Ward) -> None:
    for night in (1, 2):
        open_ward.send(night=night, Observation=[result("o1", of="p2", stay=None), result(f"x{night}")])
    open_ward.send(night=3, Patient=[patient("p2")], Observation=[result("o1", of="p2", stay=None)])
    report = open_ward.report("observation")
    assert (report["waiting"], report["facts"], report["versions"], report["records"]) == (0, 3, 3, 3)


def test_an_extract_from_before_the_newest_one_is_refused(open_ward: Ward) -> None:
    open_ward.send(night=5, Observation=[result()])
    with pytest.raises(Refused, match="later than"):
        open_ward.send(night=4, Observation=[result("o2")])
    assert open_ward.rows("select count(*) from observation") == [(1,)]


def test_a_dry_run_says_what_would_be_taken_up(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1", of="p2", stay=None)])
    path = open_ward.extract(Patient=[patient("p2")])
    told = open_ward.ingest(path, night=2, dry_run=True)
    assert told.accounts["observation"].taken_up == 1
    assert told.accounts == open_ward.ingest(path, night=2).accounts
