"""What lies in quarantine comes out again: by a later good version of the same fact, or by a retry after a mending."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from integrations.errors import Refused
from integrations.ingest import quarantine_report
from integrations.ingest.retry import RetryResult, retry
from integrations.ingest.scratch import scratch
from integrations.records.schema import account, audit, quarantine, snapshot
from tests.integrations.ingest.conftest import CODES, FIRST_NIGHT, Ward, blood_pressure, encounter, patient, result

LATER = "2024-03-02T15:00:00.000-06:00"  # after the 11:00 of `result`
EARLIER = "2024-03-02T09:00:00.000-06:00"


def night(number: float) -> Any:
    return FIRST_NIGHT + timedelta(days=number)


def releases(ward: Ward) -> list[tuple[Any, ...]]:
    """(code, released_at, released_by) of every row of quarantine."""
    with ward.records.read() as db:
        rows = db.execute(select(quarantine).order_by(quarantine.c.quarantine_id)).all()
    return [(row.code, row.released_at, row.released_by) for row in rows]


# --- a later good version ---------------------------------------------------------------------------------------------


def test_a_corrected_result_ends_the_hold_of_the_bad_one_when_it_is_known(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1", 5000), result("other", 5000)])
    open_ward.send(night=2, Observation=[result("o1", 1.2, status="corrected", issued=LATER)])
    assert releases(open_ward) == [("2160-0", night(2), "superseded"), ("2160-0", None, None)]
    assert open_ward.rows("select value_number, available_at = timestamptz '2024-03-12 05:00Z' from observation") == [
        (1.2, True)
    ]
    assert open_ward.reasons() == {"impossible_value": 1}


def test_a_correction_in_the_same_extract_leaves_no_hold_whatever_the_order_of_the_lines(open_ward: Ward) -> None:
    good = result("o1", 1.2, status="corrected", issued=LATER)
    open_ward.send(night=1, Observation=[good, result("o1", 5000)])
    assert releases(open_ward) == [("2160-0", night(1), "superseded")]


def test_a_bad_correction_of_a_good_result_holds_on(open_ward: Ward) -> None:
    bad = result("o1", 5000, status="corrected", issued=LATER)
    open_ward.send(night=1, Observation=[result("o1", 1.2), bad, result("o2", 1.0)])
    open_ward.send(night=2, Observation=[result("o2", 5000, status="corrected", issued=LATER)])
    assert releases(open_ward) == [("2160-0", None, None)] * 2


def test_an_older_version_that_comes_late_does_not_end_the_hold(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1", 5000)])
    open_ward.send(night=2, Observation=[result("o1", 1.2, issued=EARLIER)])
    assert releases(open_ward) == [("2160-0", None, None)]


def test_a_bad_version_that_is_taken_back_to_what_was_known_before_ends_the_hold(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1", 1.2)])
    open_ward.send(night=2, Observation=[result("o1", 5000, issued=LATER)])
    done = open_ward.send(night=3, Observation=[result("o1", 1.2, issued=LATER)])
    assert done.accounts["observation"].unchanged == 1
    assert releases(open_ward) == [("2160-0", night(3), "superseded")]


def test_a_withdrawal_of_what_is_in_quarantine_ends_the_hold_and_holds_nothing_itself(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1", 5000)])
    withdrawn = result("o1", status="entered-in-error")
    del withdrawn["valueQuantity"], withdrawn["effectiveDateTime"]
    open_ward.send(night=2, Observation=[withdrawn])
    held = [(code, by) for code, at, by in releases(open_ward) if at is None and code is not None]
    assert held == []
    assert releases(open_ward)[0] == ("2160-0", night(2), "superseded")


def test_a_good_version_of_a_record_ends_the_hold_of_each_of_its_facts(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[blood_pressure("b", 5000, 80)])
    open_ward.send(night=2, Observation=[blood_pressure("b", 120, 80)])
    assert releases(open_ward) == [("8462-4", night(2), "superseded"), ("8480-6", night(2), "superseded")]


def test_of_history_the_hold_ends_when_the_good_version_was_known(open_ward: Ward) -> None:
    good = result("o1", 1.2, status="corrected", issued=LATER)
    open_ward.send(night=1, is_history=True, Observation=[result("o1", 5000), good])
    known = open_ward.rows("select available_at from observation")[0][0]
    assert known < night(1)
    assert [at for _, at, _ in releases(open_ward)] == [known]


def test_a_good_version_that_waits_ends_the_hold_when_it_is_taken_up(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1", 5000)])
    open_ward.send(night=2, Observation=[result("o1", 1.2, stay="e2", issued=LATER)])
    assert releases(open_ward) == [("2160-0", None, None)]
    open_ward.send(night=3, Encounter=[encounter("e2")])
    assert releases(open_ward) == [("2160-0", night(3), "superseded")]


def test_the_same_bytes_mapped_once_codes_are_mended_are_one_record_and_hold_nothing(open_ward: Ward) -> None:
    lines = [result("o1"), result("o2", code="2823-3", unit="mmol/L", value=4)]
    codes = open_ward.places.sources / "ward" / "codes.csv"
    codes.write_text("\n".join(line for line in CODES.splitlines() if "2160-0" not in line) + "\n")
    open_ward.send(night=1, Observation=lines)
    codes.write_text(CODES)
    open_ward.send(night=2, Observation=[*lines, result("o3")])
    assert releases(open_ward) == [("2160-0", night(2), "sent_again")]
    report = open_ward.report("observation")
    assert (report["records"], report["facts"], report["quarantined"]) == (3, 3, 0)


def test_records_whose_patient_or_code_cannot_be_read_are_counted_as_holding_no_one(open_ward: Ward) -> None:
    no_patient = result("o2", 5000)
    del no_patient["subject"]
    open_ward.send(night=1, Observation=[result("o1", 5000), no_patient, "{"])
    assert quarantine_report(open_ward.records, "ward")["holding_no_one"] == 2


# --- a retry ----------------------------------------------------------------------------------------------------------


def mend(ward: Ward, codes: str = CODES) -> None:
    (ward.places.sources / "ward" / "codes.csv").write_text(codes)


def without(*words: str) -> str:
    return "\n".join(line for line in CODES.splitlines() if not any(word in line for word in words)) + "\n"


def retried(ward: Ward, number: float, *, dry_run: bool = False) -> RetryResult:
    return retry("ward", as_of=night(number), places=ward.places, records=ward.records, dry_run=dry_run)


def test_a_retry_releases_what_passes_by_the_codes_of_now_and_the_rest_stays(open_ward: Ward) -> None:
    mend(open_ward, without("2160-0", "2823-3"))
    potassium = result("k", 4.0, "mmol/L", code="2823-3")
    first = open_ward.send(night=1, Observation=[result("o1"), result("bad", 5000), potassium, "{"])
    assert open_ward.reasons() == {"not_json": 1, "unknown_code": 3}
    mend(open_ward, without("2823-3"))
    plan = retried(open_ward, 3, dry_run=True)
    assert {by for _, _, by in releases(open_ward)} == {None}
    done = retried(open_ward, 3)
    assert replace(plan, snapshot_id=done.snapshot_id) == done
    assert (done.released, done.outcomes) == ({"unknown_code": 1}, {"mapped": 1, "quarantined": 3})
    assert done.stays == {"impossible_value": 1, "not_json": 1, "unknown_code": 1} == open_ward.reasons()
    assert open_ward.rows("select observation_id, available_at = timestamptz '2024-03-13 05:00Z' from observation") == [
        ("ward/o1", True)
    ]
    assert [row for row in releases(open_ward) if row[1]] == [("2160-0", night(3), "retry")]
    with open_ward.records.read() as db:
        [kept] = db.execute(select(account).where(account.c.extract_id == first.extract_id)).all()
        [entry] = db.execute(select(audit.c.body).where(audit.c.kind == "quarantine_retried")).scalars()
        since = set(db.execute(select(quarantine.c.quarantined_at)).scalars())
    assert (kept.received, kept.quarantined, kept.taken_up, kept.rows_written) == (4, 4, 1, 1)
    [written] = (open_ward.places.lake.root / "observation").glob("bucket=*/*.parquet")
    assert written.name.startswith(f"{first.extract_id}-retry")
    assert json.loads(entry)["released"] == {"unknown_code": 1}
    assert since == {night(1)}
    report = open_ward.report("observation")
    assert (report["records"], report["facts"], report["quarantined"]) == (4, 1, 3)


def test_a_second_retry_changes_nothing(open_ward: Ward) -> None:
    mend(open_ward, without("2160-0"))
    open_ward.send(night=1, Observation=[result("o1"), result("bad", 5000)])
    mend(open_ward)
    retried(open_ward, 2)

    def state() -> list[Any]:
        with open_ward.records.read() as db:
            return [db.execute(select(table)).all() for table in (quarantine, audit, account, snapshot)]

    before = state()
    again = retried(open_ward, 3)
    assert (again.released, again.stays, again.snapshot_id) == ({}, {"impossible_value": 1}, None)
    assert state() == before


def test_a_retry_does_not_bring_back_what_a_later_version_has_replaced(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[blood_pressure("b", 120, 5000), result("o1", 5000)])
    open_ward.send(night=2, Observation=[result("o1", 1.2, issued=LATER)])
    assert retried(open_ward, 3).outcomes == {"quarantined": 1}
    assert open_ward.rows("select value_number from observation") == [(1.2,)]


def test_the_rest_of_a_wrong_batch_stays_though_its_impossible_values_were_corrected(open_ward: Ward) -> None:
    wrong = [result(f"o{n}", 88.4) for n in range(8)]
    possible = [result(f"p{n}", 20) for n in range(4)]
    open_ward.send(night=1, Observation=[*wrong, *possible])
    assert open_ward.reasons() == {"impossible_value": 8, "suspect_batch": 4}
    open_ward.send(night=2, Observation=[result(f"o{n}", 1.0, issued=LATER) for n in range(8)])
    assert retried(open_ward, 3).stays == {"suspect_batch": 4}


def test_a_wrong_year_does_not_pass_because_that_year_has_come(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1", effectiveDateTime="2024-04-02T10:00:00-06:00")])
    assert retried(open_ward, 60).stays == {"impossible_time": 1}


def test_what_is_out_of_scope_or_waits_after_a_mending_holds_nothing(open_ward: Ward) -> None:
    mend(open_ward, without("2160-0", "9999-9"))
    open_ward.send(night=1, Observation=[result("o1", code="9999-9"), result("o2", of="p2", stay=None)])
    mend(open_ward)
    done = retried(open_ward, 2)
    assert done.outcomes == {"out_of_scope": 1, "waiting": 1}
    report = open_ward.report("observation")
    assert (report["records"], report["waiting"], report["quarantined"]) == (2, 1, 0)
    open_ward.send(night=3, Patient=[patient("p2")])
    assert open_ward.rows("select observation_id from observation") == [("ward/o2",)]
    assert open_ward.report("observation")["records"] == 2


def test_a_good_correction_of_a_bad_result_is_released_and_the_bad_one_with_it(open_ward: Ward) -> None:
    mend(open_ward, without("2160-0"))
    open_ward.send(night=1, Observation=[result("o1", 5000)])
    open_ward.send(night=2, Observation=[result("o1", 1.2, issued=LATER)])
    mend(open_ward)
    assert retried(open_ward, 3).outcomes == {"mapped": 1, "quarantined": 1}
    assert sorted((at, by) for _, at, by in releases(open_ward)) == [(night(3), "retry"), (night(3), "superseded")]


def test_a_retry_takes_the_lock_of_ingest_and_no_time_before_the_newest_extract(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o1", 5000)])
    with pytest.raises(Refused, match="later than"):
        retried(open_ward, 0.5)
    with scratch(open_ward.places, dry_run=False), pytest.raises(Refused, match="another ingest is running"):
        retried(open_ward, 2)
