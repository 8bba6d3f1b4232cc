"""Why a feature has its value: which facts it came from, and what was known only later."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features import explained
from features.definitions import view, view_names
from features.explained import ExplainedFeature, explain_view
from features.parquet_files import view_rows
from integrations.duck import connect
from models.cases import Cases, open_stories
from tests.promises.compared import spine_of
from tests.promises.histories import HOUR, Shape, history, open_history

T = "2024-01-03 12:00"
STAY = [{"id": "e1", "patient": "p1", "started_at": "2024-01-01"}, {"id": "e2", "patient": "p2", "started_at": T}]
PATIENTS = [{"id": name, "birth_date": "1950-01-01"} for name in ("p1", "p2", "p3")]
Explain = Callable[..., dict[str, ExplainedFeature]]


def spine(patient: str = "ehr/000.p1", stay: str = "ehr/000.e1", at: str = T) -> pa.Table:
    when = pa.array([datetime.fromisoformat(at).replace(tzinfo=UTC)], pa.timestamp("us", "UTC"))
    return pa.table({"site_id": ["demo"], "patient_id": [patient], "encounter_id": [stay], "prediction_time": when})


def result(value: float, at: str, known: str | None = None, id: str | None = None, **more: Any) -> dict[str, Any]:
    fact = {"patient": "p1", "code": "2160-0", "value_number": value, "effective_at": at, **more}
    return fact | ({"available_at": known} if known else {}) | ({"id": id} if id else {})


@pytest.fixture
def explain(tmp_path: Path) -> Explain:
    """Explain a view of p1 at T, by feature, with these facts in the hospital."""

    def of_facts(name: str, **facts: list[dict[str, Any]]) -> dict[str, ExplainedFeature]:
        story = {"story": "one", "facts": {"patient": PATIENTS, "encounter": STAY, **facts}, "expect": {}}
        cases = {"time_zone": "UTC", "lateness_hours": {"ehr": 24}, "as_of": "2024-06-01", "cases": [story]}
        with connect(tmp_path / "tmp", threads=1) as lake:
            open_stories(lake, Cases.model_validate(cases), tmp_path)
            return {each.feature.name: each for each in explain_view(lake, view(name), spine(), tmp_path / "tmp")}

    return of_facts


def told(facts: tuple[explained.Fact, ...]) -> list[tuple[str, object, str]]:
    return [(fact.fact_id.partition(".")[2], fact.content.get("value_number"), fact.counts) for fact in facts]


def test_the_last_value_came_from_the_last_result_and_no_other(explain: Explain) -> None:
    others = [result(9.0, "2024-01-03", patient="p2"), result(8.0, "2024-01-03", code="2823-3")]
    found = explain(
        "recent_labs", observation=[result(1.0, "2024-01-02", id="a"), result(1.4, "2024-01-03", id="b"), *others]
    )
    last = found["creatinine_last_mg_dl"]
    assert (last.value, last.value_today, last.later) == (1.4, 1.4, ())
    assert told(last.facts) == [("b", 1.4, "needed")]
    [fact] = last.facts
    assert (fact.table, fact.code, fact.extract_id, fact.source_file, fact.source_line) == (
        "observation",
        "2160-0",
        "story",
        "cases.yaml",
        2,
    )
    assert (fact.effective_at, fact.available_at) == (datetime(2024, 1, 3, tzinfo=UTC),) * 2
    assert told(found["creatinine_lowest_7d_mg_dl"].facts) == [("a", 1.0, "needed")]
    assert told(found["creatinine_rise_48h_mg_dl"].facts) == [("b", 1.4, "needed"), ("a", 1.0, "needed")]


def test_of_two_results_each_of_which_is_enough_both_are_listed_and_no_third(explain: Explain) -> None:
    results = [result(1.0, "2024-01-02", id="a"), result(1.0, "2024-01-02 12:00", id="b"), result(2.0, T, id="c")]
    lowest = explain("recent_labs", observation=results)["creatinine_lowest_7d_mg_dl"]
    assert told(lowest.facts) == [("b", 1.0, "enough"), ("a", 1.0, "enough")]


def test_a_last_value_that_had_been_the_same_before_came_from_the_last_result_alone(explain: Explain) -> None:
    results = [result(1.0, "2024-01-02", id="a"), result(1.0, "2024-01-03", id="b")]
    last = explain("recent_labs", observation=results)["creatinine_last_mg_dl"]
    assert told(last.facts) == [("b", 1.0, "enough")]


def test_diagnoses_that_only_say_that_somebody_was_coded_stand_together_for_a_no(explain: Explain) -> None:
    coded = [{"patient": "p1", "code": code, "effective_at": "2024-01-02", "id": code} for code in ("I10", "R079")]
    found = explain("comorbidity", condition=coded)
    assert (found["is_heart_failure"].value, told(found["is_heart_failure"].facts)) == (
        0.0,
        [("I10", None, "enough"), ("R079", None, "enough")],
    )


def test_a_median_that_no_single_result_moves_names_those_that_make_it(explain: Explain) -> None:
    values = [(1.0, "2023-10-01"), (1.0, "2023-10-02"), (1.2, "2023-10-03"), (0.8, "2023-10-04")]
    found = explain("recent_labs", observation=[result(value, at) for value, at in values])
    median = found["creatinine_median_365d_mg_dl"]
    assert median.value == 1.0
    assert {(fact.content["value_number"], fact.counts) for fact in median.facts} == {(1.0, "enough")}


def test_a_correction_that_came_later_is_shown_with_the_value_that_it_gives(explain: Explain) -> None:
    results = [result(1.0, "2024-01-03", id="a"), result(1.4, "2024-01-03", "2024-01-05", id="a")]
    last = explain("recent_labs", observation=results)["creatinine_last_mg_dl"]
    assert (last.value, told(last.facts)) == (1.0, [("a", 1.0, "needed")])
    assert (last.value_today, told(last.later)) == (1.4, [("a", 1.4, "needed")])
    assert last.later[0].available_at == datetime(2024, 1, 5, tzinfo=UTC)


def test_a_late_and_a_withdrawn_result_are_known_only_later_and_what_came_to_be_true_later_is_not(
    explain: Explain,
) -> None:
    results = [
        result(1.4, "2024-01-03", id="a"),
        result(1.4, "2024-01-03", "2024-01-05", id="a", is_retracted=True),
        result(1.1, "2024-01-02", "2024-01-06", id="b"),
        result(3.0, "2024-01-04", "2024-01-04", id="c"),
    ]
    found = explain("recent_labs", observation=results)
    last = found["creatinine_last_mg_dl"]
    assert (last.value, last.value_today) == (1.4, 1.1)
    assert [(*each, fact.is_retracted) for each, fact in zip(told(last.later), last.later, strict=True)] == [
        ("a", 1.4, "needed", True)
    ]
    assert told(found["creatinine_rise_48h_mg_dl"].later) == [
        (
            "a",
            1.4,
            "needed",
        ),
        ("b", 1.1, "needed"),
    ]


def test_a_result_under_another_number_came_by_the_link_too_and_a_link_that_came_later_is_said(
    explain: Explain,
) -> None:
    def linked(known: str) -> list[dict[str, Any]]:
        names = (("p1", "2024-01-01"), ("p3", known))
        return [{"id": n, "patient": n, "system": "mrn", "value": "1", "available_at": at} for n, at in names]

    results = [result(1.0, "2024-01-02", id="own"), result(1.4, "2024-01-03", id="other", patient="p3")]
    before = explain("recent_labs", observation=results, patient_link=linked("2024-01-02"))["creatinine_last_mg_dl"]
    assert [(fact.table, fact.counts) for fact in before.facts] == [
        ("observation", "needed"),
        ("same_person", "needed"),
    ]
    after = explain("recent_labs", observation=results, patient_link=linked("2024-01-04"))["creatinine_last_mg_dl"]
    assert (after.value, after.value_today) == (1.0, 1.4)
    assert [(fact.table, fact.fact_id) for fact in after.later] == [("same_person", "ehr/000.p3")]


def test_a_stay_that_ended_later_has_not_ended_for_what_is_known_today(explain: Explain) -> None:
    ended = [{**STAY[0], "ended_at": "2024-01-09", "discharge_disposition": "home"}]
    found = explain("encounter_history", encounter=ended)
    assert (found["in_stay_hours"].value, found["in_stay_hours"].value_today) == (60.0, 60.0)
    assert (found["is_discharged_home"].value, found["is_discharged_home"].value_today) == (None, None)
    assert [fact.table for fact in found["in_stay_hours"].facts] == ["encounter"]


def test_what_nobody_measured_came_from_no_fact(explain: Explain) -> None:
    found = explain("recent_labs", observation=[result(1.0, "2024-01-03")])["sodium_last_mmol_l"]
    assert (found.value, found.facts, found.later) == (None, (), ())


def test_facts_beyond_the_most_are_counted_and_not_looked_at(explain: Explain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explained, "MOST_FACTS", 3)
    results = [result(1.0 + number / 10, f"2024-01-02 {number:02}:00", id=f"r{number}") for number in range(6)]
    last = explain("recent_labs", observation=results)["creatinine_last_mg_dl"]
    assert told(last.facts) == [("r5", 1.5, "needed")]
    assert last.uncounted == 4  # three of the results, and the stay


def test_every_view_is_explained_by_the_values_that_it_gives(tmp_path: Path) -> None:
    """Of whatever view there is, over a generated history: the value is that of the view, and facts account for it."""
    shape = Shape(seed=2, person_count=5, tick=HOUR, corrected=0.4, moved=0.0, hour_of_t=18)
    with open_history(history(shape), tmp_path) as lake:
        rows = spine_of(lake, shape.at)
        at_t = [n for n, row in enumerate(rows.to_pylist()) if row["prediction_time"] == shape.at]
        for each in map(view, view_names()):
            explained_count = 0
            for number in at_t:
                row = rows.slice(number, 1)
                [given] = view_rows(lake, each, row).to_pylist()
                found = explain_view(lake, each, row, tmp_path)
                assert {one.feature.name: one.value for one in found} == {
                    one.feature.name: given[one.feature.name] for one in found
                }
                assert all(one.facts for one in found if one.value)  # neither null nor zero: it came from somewhere
                explained_count += sum(bool(one.facts) for one in found)
                if explained_count:
                    break
            assert explained_count > 0, each.name
