"""What lies in quarantine comes out again: by a later good version of the same fact, or by a retry after a mending."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from integrations.records.schema import quarantine
from tests.integrations.ingest.conftest import CODES, FIRST_NIGHT, Ward, blood_pressure, encounter, result

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
