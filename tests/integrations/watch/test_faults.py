"""Every fault of the synthetic hospital, and what CHARTwatch has met, is caught in the extract that brings it."""

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
import pytest

from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.scenarios import SCENARIOS
from integrations.watch.finding import Found
from tests.integrations.watch.conftest import OpenFeed
from tests.integrations.watch.nights import Nights

PATIENTS = 8000
LEARNT = 10
UNKNOWN = "select count(*) from judged where fault = 'unknown_code code'"
IMPOSSIBLE = "select count(*) from judged where fault = 'impossible_value value'"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Which door or kind of finding catches a scenario, from which night on, and what else may be said.

    door: a question to the rows as judged, whose answer must not be 0. A night that is clean until then says nothing.
    """

    night: int
    findings: dict[str, set[str]]  # kind: severities
    door: str = ""
    is_from_the_first: bool = False  # the fault begins with the feed, so nothing is usual yet


# late_results and duplicates_corrections begin with the first night: the contract catches the first, and of the
# second the rows themselves (tests/integrations/ingest: the same again is unchanged, a correction is a version).
# Where a feed has ten clean nights before, the watch sees all three: see below.
GUARDS = {
    "creatinine_unit": Guard(night=5, door=IMPOSSIBLE, findings={"scale_jump": {"warning"}}),
    "unit_change_declared": Guard(night=5, findings={"unit_mix": {"note"}}),
    "loinc_swap": Guard(night=5, door=UNKNOWN, findings={"code_renamed": {"blocking"}}),
    "outage": Guard(night=5, findings={"code_vanished": {"blocking"}}),
    "late_results": Guard(night=2, findings={"delay": {"warning"}}, is_from_the_first=True),
}


@pytest.mark.parametrize("scenario", GUARDS)
def test_a_scripted_fault_is_caught_in_its_first_extract_by_the_guard_that_should(
    feed: OpenFeed, scenario: str
) -> None:
    guard = GUARDS[scenario]
    nights = feed("demo_lis", Hospital(patients=PATIENTS, nights=8, scenario=scenario, seed=3))
    assert nights.play(range(1, guard.night)) == []
    found = nights.play([guard.night])
    assert _severities(found) == guard.findings, [each.sentence for each in found]
    if guard.door:
        [(count,)] = nights.connection.execute(guard.door).fetchall()
        assert count > 0


def test_every_fault_of_results_has_its_guard() -> None:
    """Merges are told apart by identity, and what changes patients is drift: the watch of feeds has neither."""
    elsewhere = {"none", "concept", "prevalence", "casemix", "merged_patients", "duplicates_corrections"}
    assert SCENARIOS.keys() - elsewhere == GUARDS.keys()


def test_a_swap_of_codes_names_each_code_that_came_in_place_of_which(feed: OpenFeed) -> None:
    nights = feed("demo_lis", Hospital(patients=PATIENTS, nights=8, scenario="loinc_swap", seed=3))
    nights.learn(range(1, 5))
    found = {each.codes: each.evidence["new_code"] for each in nights.play([5])}
    assert found == {
        ("2823-3",): "6298-4",
        ("2951-2",): "2947-0",
        ("2345-7",): "2339-0",
        ("718-7",): "20509-6",
    }


def test_a_unit_that_is_88_times_too_high_is_named_by_its_conversion(feed: OpenFeed) -> None:
    nights = feed("demo_lis", Hospital(patients=PATIENTS, nights=8, scenario="creatinine_unit", seed=3))
    nights.learn(range(1, 5))
    [found] = nights.play([5])
    assert "a factor near 88.42 says mg/dL -> umol/L" in found.sentence
    assert found.evidence["passed"] == 0


@pytest.mark.parametrize(
    ("scenario", "kinds"), [("late_results", {"delay"}), ("duplicates_corrections", {"duplicates"})]
)
def test_a_fault_that_begins_after_clean_nights_differs_from_them(
    feed: OpenFeed, scenario: str, kinds: set[str]
) -> None:
    clean = feed("demo_lis", Hospital(patients=PATIENTS, nights=16, scenario="none", seed=3))
    faulty = feed("demo_lis", Hospital(patients=PATIENTS, nights=16, scenario=scenario, seed=3))
    clean.learn(range(1, LEARNT + 1))
    faulty.records = clean.records
    assert {each.kind for each in clean.play([LEARNT + 1], keep=False)} == set()
    found = faulty.play([LEARNT + 1, LEARNT + 2, LEARNT + 3])
    assert kinds <= {each.kind for each in found}
    assert all(each.severity == "warning" for each in found)


Spoil = Callable[[duckdb.DuckDBPyConnection], object]


def spoilt(sql: str) -> Spoil:
    return lambda lake: lake.execute(sql)


NEW_ASSAY = spoilt(
    """
    update judged set
        local_code = null, code = null, unknown_code = '67151-1', sent_unit = 'ng/L',
        sent_number = sent_number * 1000, value_number = null, fault = 'unknown_code code'
    where local_code = '6598-7'
    """
)
SODIUM_NA = spoilt(
    """
    update judged set value_text = 'NA', sent_number = null, value_number = null, sent_unit = null,
        fault = 'bad_value value'
    where local_code = '2951-2'
    """
)
GLUCOSE_IN_MMOL = spoilt(
    "update judged set sent_number = sent_number / 18.016, value_number = value_number / 18.016 where code = '2345-7'"
)
HALF_OF_POTASSIUM = spoilt(
    """
    update judged set sent_number = 10 * sent_number, value_number = 10 * value_number
    where code = '2823-3' and record_line % 5 = 0
    """
)


def after(feed: OpenFeed, spoil: Spoil, *, source: str = "demo_lis", nights: int = 1) -> tuple[Nights, list[Found]]:
    watched = feed(source, Hospital(patients=PATIENTS, nights=20, scenario="none", seed=3))
    watched.learn(range(1, LEARNT + 1))
    return watched, watched.play(range(LEARNT + 1, LEARNT + 1 + nights), spoil)


def test_a_new_troponin_assay_is_seen_as_the_old_one_under_another_code_and_scale(feed: OpenFeed) -> None:
    _, found = after(feed, NEW_ASSAY, nights=4)
    renamed = next(each for each in found if each.kind == "code_renamed")
    assert (renamed.subject, renamed.severity, renamed.codes) == ("6598-7", "blocking", ("6598-7",))
    assert renamed.evidence["new_code"] == "67151-1"
    assert 500 < renamed.evidence["ratio"] < 2000


def test_sodium_that_comes_as_na_is_junk_and_holds_its_code(feed: OpenFeed) -> None:
    _, found = after(feed, SODIUM_NA)
    junk = next(each for each in found if each.kind == "junk")
    assert (junk.severity, junk.codes) == ("blocking", ("2951-2",))
    assert junk.evidence["share"] == 1.0


def test_glucose_in_mmol_that_says_mg_is_a_jump_by_18(feed: OpenFeed) -> None:
    _, found = after(feed, GLUCOSE_IN_MMOL)
    [jump] = [each for each in found if each.kind == "scale_jump"]
    assert (jump.severity, jump.codes) == ("blocking", ("2345-7",))
    assert "mg/dL -> mmol/L" in jump.sentence


NO_UNIT = "update judged set sent_unit = null where code = '6598-7'"
NO_UNIT_AND_NG_PER_L = f"{NO_UNIT}; update judged set value_number = 1000 * value_number where code = '6598-7'"
QUARANTINED = f"{NO_UNIT}; update judged set fault = 'unknown_unit unit', value_number = null where code = '6598-7'"


@pytest.mark.parametrize(
    ("spoil", "severity"), [(NO_UNIT_AND_NG_PER_L, "blocking"), (NO_UNIT, "note"), (QUARANTINED, "warning")]
)
def test_numbers_that_lose_their_unit_hold_their_code_where_they_pass_on_another_scale(
    feed: OpenFeed, spoil: str, severity: str
) -> None:
    """A code that may come as text (">500") passes without a unit and is read in the usual one; others do not pass."""
    _, found = after(feed, spoilt(spoil))
    [mix] = [each for each in found if each.kind == "unit_mix"]
    assert (mix.severity, mix.codes) == (severity, ("6598-7",))
    assert "no unit 0% -> 100%" in mix.sentence


def test_a_fifth_of_the_values_with_a_slipped_decimal_moves_the_outer_tenth(feed: OpenFeed) -> None:
    _, found = after(feed, HALF_OF_POTASSIUM)
    [jump] = [each for each in found if each.kind == "scale_jump"]
    assert "a factor near 10 says a decimal point" in jump.sentence


def test_corrections_that_become_many_are_seen(feed: OpenFeed) -> None:
    _, found = after(feed, spoilt("update judged set status = 'corrected' where record_line % 12 = 0"))
    [corrected] = [each for each in found if each.kind == "corrected"]
    assert corrected.evidence["share"] > 5 * corrected.evidence["usual_share"]


def test_a_new_ward_and_one_that_is_closed_are_seen(feed: OpenFeed) -> None:
    watched = feed("demo_ehr", Hospital(patients=PATIENTS, nights=20, scenario="none", seed=3))
    watched.learn(range(1, LEARNT + 1))
    watched.connection.execute("update place set ward = '8 North' where ward = '4 West'")
    found = watched.play(range(LEARNT + 1, LEARNT + 8))
    assert {(each.kind, each.subject) for each in found} >= {("ward_new", "8 North"), ("ward_vanished", "4 West")}
    assert {each.severity for each in found if each.kind.startswith("ward")} == {"warning"}


def _severities(found: list[Found]) -> dict[str, set[str]]:
    said: dict[str, set[str]] = {}
    for each in found:
        said.setdefault(each.kind, set()).add(each.severity)
    return said
