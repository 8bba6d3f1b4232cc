"""What people write about a use case: a wrong key fails with its line and the nearest one."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from integrations.duck import connect
from integrations.errors import WrongUsage
from models.card import load_card
from models.case_runner import differences
from models.cases import Cases, load_cases, open_stories
from models.catalog import use_case

READMISSION = use_case("readmission_30d")
STAY = {
    "id": "e1",
    "patient": "p1",
    "started_at": "2024-01-01",
    "ended_at": "2024-01-05",
    "discharge_disposition": "home",
}


def changed_card(folder: Path, old: str, new: str) -> Path:
    text = (READMISSION.folder / "card.yaml").read_text(encoding="utf-8")
    assert old in text
    (folder / "card.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


def test_an_unknown_key_of_a_card_is_answered_with_its_line_and_the_nearest_key(tmp_path: Path) -> None:
    folder = changed_card(tmp_path, "intended_use:", "intendet_use:")
    with pytest.raises(WrongUsage, match=r"line \d+[\s\S]*did you mean intended_use"):
        load_card(dataclasses.replace(READMISSION, folder=folder))


def test_a_card_may_leave_nothing_blank(tmp_path: Path) -> None:
    folder = changed_card(tmp_path, "users: Nurses and physicians of the care transitions team.", 'users: " "')
    with pytest.raises(WrongUsage, match="users"):
        load_card(dataclasses.replace(READMISSION, folder=folder))


def test_a_card_that_contradicts_its_use_case_is_refused(tmp_path: Path) -> None:
    folder = changed_card(tmp_path, "value: 0.25", "value: 0.3")
    with pytest.raises(WrongUsage, match=r"threshold is 0.3 in the card and 0.25 in use_case.py"):
        load_card(dataclasses.replace(READMISSION, folder=folder))


def cases_of(**changes: object) -> Cases:
    case = {
        "story": "home",
        "facts": {"patient": [{"id": "p1"}], "encounter": [STAY]},
        "expect": {"cohort": {"e1": {"2024-01-05": "eligible"}}, "label": {"e1": {"2024-01-05": "0 not_readmitted"}}},
    }
    whole = {"time_zone": "UTC", "lateness_hours": {"ehr": 24}, "as_of": "2024-06-01", "cases": [{**case, **changes}]}
    return Cases.model_validate(whole)


@pytest.mark.parametrize(
    ("expect", "found"),
    [
        ({"cohort": {"e1": {"2024-01-05": "died"}}}, "cohort e1 at 2024-01-05 00:00: expected died, found eligible"),
        ({}, "cohort e1 at 2024-01-05 00:00: expected no row, found eligible"),
        (
            {"cohort": {"e1": {"2024-01-05": "eligible"}, "e2": {"2024-01-05": "eligible"}}},
            "expected eligible, found no row",
        ),
        (
            {"cohort": {"e1": {"2024-01-05": "eligible"}}, "features": {"e1": {"2024-01-05": {"age_years": 20}}}},
            "feature age_years e1 at 2024-01-05 00:00: expected 20.0, found 73.0",
        ),
        (
            {"cohort": {"e1": {"2024-01-05": "eligible"}}, "features": {"e1": {"2024-01-05": {"age_years": None}}}},
            "expected None, found 73.0",
        ),
        (
            {"cohort": {"e1": {"2024-01-05": "eligible"}}, "features": {"e1": {"2024-01-05": {"ages": 1}}}},
            "found no such feature",
        ),
        (
            {"cohort": {"e1": {"2024-01-05": "eligible"}}, "label": {"e1": {"2024-01-05": "1 readmitted"}}},
            "label e1 at 2024-01-05 00:00: expected 1 readmitted, found 0 not_readmitted",
        ),
        (
            {"cohort": {"e1": {"2024-01-05": "eligible"}}, "label": {"e2": {"2024-01-05": "1 readmitted"}}},
            "expected 1 readmitted, found no row",
        ),
    ],
)
def test_a_story_that_is_not_true_says_what_was_found(tmp_path: Path, expect: object, found: str) -> None:
    cases = cases_of(expect=expect)
    connection = connect(tmp_path / "tmp", threads=1)
    open_stories(connection, cases, tmp_path)
    (said,) = differences(connection, READMISSION, cases)["home"]
    assert found in said


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"patients": [{"id": "p1"}]}, "unknown table patients"),
        ({"patient": [{"id": "p1", "birthdate": "1950-01-01"}]}, "unknown column birthdate of patient"),
    ],
)
def test_a_fact_that_no_canonical_table_knows_is_refused(tmp_path: Path, facts: object, message: str) -> None:
    connection = connect(tmp_path / "tmp", threads=1)
    with pytest.raises(WrongUsage, match=message):
        open_stories(connection, cases_of(facts=facts), tmp_path)


def test_an_unknown_key_of_a_story_is_answered_with_its_line(tmp_path: Path) -> None:
    shutil.copy(READMISSION.folder / "cases.yaml", tmp_path)
    text = (tmp_path / "cases.yaml").read_text(encoding="utf-8")
    (tmp_path / "cases.yaml").write_text(text.replace("    expect:", "    expects:", 1), encoding="utf-8")
    with pytest.raises(WrongUsage, match=r"line \d+[\s\S]*did you mean expect"):
        load_cases(tmp_path / "cases.yaml")
