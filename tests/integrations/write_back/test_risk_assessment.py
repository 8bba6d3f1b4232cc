"""How a score is said in FHIR, and what is never sent."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from integrations.fhir.risk_assessment import RiskScore, faults, risk_assessment
from tests.integrations.write_back.conftest import READMISSION, SYSTEM


@pytest.fixture
def resource(a_score: RiskScore) -> dict[str, Any]:
    return risk_assessment(a_score, READMISSION, identifier_system=SYSTEM)


def test_it_says_whose_risk_of_what_by_when_and_how_likely(resource: dict[str, Any]) -> None:
    assert resource["subject"] == {"reference": "Patient/p1"}
    assert resource["encounter"] == {"reference": "Encounter/e1"}
    assert resource["occurrenceDateTime"] == "2024-07-01T20:00:00Z"
    (prediction,) = resource["prediction"]
    assert prediction["probabilityDecimal"] == 0.234568
    assert prediction["qualitativeRisk"]["coding"][0]["code"] == "moderate"
    assert prediction["outcome"]["coding"] == [{"system": "http://snomed.info/sct", "code": "417005"}]
    assert prediction["whenPeriod"] == {"start": "2024-07-01T20:00:00Z", "end": "2024-07-31T20:00:00Z"}


def test_the_period_ends_when_the_horizon_does_which_may_have_begun_before_the_prediction(a_score: RiskScore) -> None:
    known_late = replace(a_score, horizon_starts_at=a_score.prediction_time - timedelta(hours=20))
    resource = risk_assessment(known_late, READMISSION, identifier_system=SYSTEM)
    assert resource["prediction"][0]["whenPeriod"] == {"start": "2024-07-01T20:00:00Z", "end": "2024-07-31T00:00:00Z"}


def test_it_says_which_model_made_it_on_what_and_that_it_was_a_machine(resource: dict[str, Any]) -> None:
    assert resource["performer"]["identifier"]["value"] == "readmission_30d/3"
    assert resource["basis"][0]["identifier"]["value"] == "7"
    assert [each["code"] for each in resource["meta"]["security"]] == ["AIAST"]
    assert resource["identifier"] == [{"system": SYSTEM, "value": "6a4c2c7e-97fb-5a8e-9dbb-b4f4a3e7d001"}]


def test_it_names_the_features_that_moved_it_and_what_was_held(resource: dict[str, Any]) -> None:
    assert resource["prediction"][0]["rationale"] == (
        "Moved the estimate most: stays_last_year_count 3 (raises it); hemoglobin_last_g_dl not measured (lowers it)."
    )
    assert resource["note"] == [{"text": "Flagged: creatinine held: suspect_batch."}]


def test_the_band_comes_from_the_use_case_when_the_score_has_none(a_score: RiskScore) -> None:
    bare = replace(a_score, band=None, probability=0.3, explanation=(), reasons=())
    resource = risk_assessment(bare, READMISSION, identifier_system=SYSTEM)
    assert resource["prediction"][0]["qualitativeRisk"]["text"] == "high"
    assert "rationale" not in resource["prediction"][0]
    assert "note" not in resource


def test_a_whole_one_has_no_fault(resource: dict[str, Any]) -> None:
    assert faults(resource) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"status": "done"}, "status is not final"),
        ({"subject": {"reference": "Device/d1"}}, "subject is not one Patient by id"),
        ({"subject": {"reference": "Patient/a b"}}, "subject is not one Patient by id"),
        ({"encounter": {"reference": "Encounter/"}}, "encounter is not one Encounter by id"),
        ({"identifier": []}, "identifier is not one pair of system and value"),
        ({"meta": {}}, "it does not say that it was made by AI (AIAST)"),
        ({"prediction": []}, "there is not exactly one prediction"),
        ({"prediction": [{"probabilityDecimal": 1.5}]}, "probability is not between 0 and 1"),
        ({"prediction": [{"probabilityDecimal": 0.5}]}, "band is not low, moderate or high"),
        ({"colour": "red"}, "colour: extra_forbidden"),
    ],
)
def test_what_the_library_lets_pass_and_what_it_does_not_is_both_found(
    resource: dict[str, Any], change: dict[str, Any], fault: str
) -> None:
    assert fault in faults(resource | change)


def test_a_fault_never_repeats_a_value_of_the_patient(resource: dict[str, Any]) -> None:
    wrong = faults(resource | {"occurrenceDateTime": "Ms Example, born 1950"})
    assert wrong
    assert "Example" not in " ".join(wrong)
