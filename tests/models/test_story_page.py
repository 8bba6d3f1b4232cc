"""A patient story on the page: what is known, and what must come out, as a clinician would write it down."""

from pathlib import Path

import pytest

from models.cases import load_cases
from models.story_page import story_sections, told_in

CASES = """\
time_zone: America/Chicago
lateness_hours: {ehr: 24}
as_of: 2024-06-01 00:00
cases:

  # --- who is asked about ---

  - story: Two alike, and one withdrawn
    facts:
      patient: [{id: p1, birth_date: null}, {id: p2}, {id: p3}, {id: p3, available_at: 2024-03-01}]
      encounter:
        - {id: e1, patient: p1, started_at: 2024-02-01 08:00, ended_at: 2024-02-02 16:00,
           discharge_known_at: 2024-02-02 18:00, discharge_disposition: home}
        - {id: e2, patient: p2, class: emergency, started_at: 2024-02-01 08:00}
        - {id: e3, patient: p3, class: emergency, started_at: 2024-02-01 08:00}
      observation:
        - {patient: p1, code: 2160-0, value_number: 1.0, effective_at: 2024-02-01 09:00, available_at: 2024-02-01 12:00}
        # it clotted
        - {patient: p1, code: 2160-0, value_text: clotted, effective_at: 2024-02-01 09:00, is_retracted: true}
      condition:
        - {patient: p1, code: N186, available_at: 2024-01-01}
    expect:
      cohort:
        e1: {2024-02-01 12:00 .. 2024-02-02 12:00: eligible}
        e2: {2024-02-01 12:00: too_early}
        e3: {2024-02-01 12:00: too_early}
      features: {e1: {2024-02-01 12:00: {age_years: 73, is_female: 0, creatinine_last_mg_dl: null}}}
      label:
        e1: {2024-02-02 00:00: 1 aki at 2024-02-02 09:00, 2024-02-02 06:00: "- window_open"}

  - story: Nobody
    as_of: 2024-01-05 21:59
    facts: {patient: [{id: p1}]}
    expect: {}
"""


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    (tmp_path / "cases.yaml").write_text(CASES)
    return tmp_path / "cases.yaml"


@pytest.fixture
def told(cases: Path) -> str:
    return "\n".join(
        story_sections(
            cases, load_cases(cases), {"age_years": "years", "is_female": "flag", "creatinine_last_mg_dl": "mg/dL"}
        )
    )


def test_a_chapter_of_the_file_is_a_heading_and_a_story_can_be_linked_to(told: str) -> None:
    assert "### Who is asked about" in told
    assert '<a id="story-1"></a>**1. Two alike, and one withdrawn**' in told


def test_facts_say_what_was_true_and_from_when_it_was_known(told: str) -> None:
    stay = "inpatient; discharged: home | 2024-02-01 08:00 to 2024-02-02 16:00 | end: 2024-02-02 18:00 |"
    assert "| p1 | patient | birth date: not sent |" in told
    assert f"| p1 | encounter e1 | {stay}" in told
    assert "| Creatinine in serum or plasma: 1.0 mg/dL | 2024-02-01 09:00 | 2024-02-01 12:00 |" in told
    assert "| p1 | condition | `N186` icd-10-cm |  | 2024-01-01 |" in told


def test_a_patient_of_whom_nothing_is_said_has_no_row_but_a_later_version_has_one(told: str) -> None:
    assert "| p2 | patient |" not in told
    assert "| p3 | patient | nothing else |  | 2024-03-01 |" in told


def test_facts_that_differ_only_in_the_patient_share_a_row(told: str) -> None:
    assert "| p2, p3 | encounter e2, e3 | emergency | 2024-02-01 08:00 on |" in told


def test_a_comment_of_the_file_stands_beside_its_fact(told: str) -> None:
    assert "| **withdrawn** Creatinine in serum or plasma: clotted | 2024-02-01 09:00 |  | it clotted |" in told


def test_what_must_come_out_stands_by_stay_and_time(told: str) -> None:
    assert "| e1 | 2024-02-01 12:00 to 2024-02-02 12:00 | eligible |  |  |  |" in told
    assert "| e1 | 2024-02-02 00:00 | eligible | **1** | `aki` | 2024-02-02 09:00 |" in told
    assert "| e1 | 2024-02-02 06:00 | eligible | none | `window_open` |  |" in told
    assert "| e2, e3 | 2024-02-01 12:00 | excluded: `too_early` |" in told


def test_features_have_their_unit_a_flag_is_yes_or_no_and_null_is_not_known(told: str) -> None:
    assert "| `age_years` | 73 years |" in told
    assert "| `is_female` | no |" in told
    assert "| `creatinine_last_mg_dl` | not known |" in told


def test_a_story_without_rows_says_so_and_when_it_is_told(told: str) -> None:
    assert told.rstrip().endswith("As of 2024-01-05 21:59.\n\nNobody is predicted for.")


def test_reasons_lead_to_the_stories_that_tell_of_them(cases: Path) -> None:
    states, labels = told_in(load_cases(cases))
    assert states == {"eligible": [1], "too_early": [1]}
    assert labels == {"1 aki": [1], "- window_open": [1]}
