"""Why a score is what it is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.artifacts import RegisteredModel
from models.explanation import contributions_of, explain
from models.matrix import as_matrix
from tests.models.conftest import Trained
from tests.models.made import USE_CASE, cohort

NAMES = USE_CASE.feature_names


@pytest.fixture(scope="module")
def model(trained: Trained) -> RegisteredModel:
    return RegisteredModel(
        use_case=USE_CASE.name,
        version=1,
        manifest_hash="",
        feature_names=NAMES,
        estimator=trained.candidate.estimator,
    )


def test_contributions_add_up_to_the_margin_before_calibration(model: RegisteredModel) -> None:
    matrix = as_matrix(cohort(300, seed=5), NAMES)
    rest = model.estimator.margin(matrix) - contributions_of(model.estimator, matrix).sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-9)


def test_each_row_asked_shows_the_three_features_that_moved_it_most(model: RegisteredModel) -> None:
    frame = cohort(50, seed=6)
    told = explain(model, frame, [7, 3])
    assert list(told) == [7, 3]
    whole = np.abs(contributions_of(model.estimator, as_matrix(frame, NAMES)))
    for row, moved in told.items():
        sizes = [abs(part["contribution"]) for part in moved]
        assert sizes == pytest.approx(sorted(whole[row], reverse=True)[:3])
        for part in moved:
            assert part["value"] == frame[part["feature"]][row].as_py()


def test_what_was_not_measured_has_no_value_and_may_still_have_moved_the_score(model: RegisteredModel) -> None:
    frame = cohort(400, seed=7)
    told = explain(model, frame, range(400))
    empty = [part for moved in told.values() for part in moved if part["value"] is None]
    assert empty
    assert any(part["contribution"] != 0 for part in empty)


def test_the_features_that_drive_the_outcome_are_named_most_often(model: RegisteredModel) -> None:
    told = explain(model, cohort(400, seed=8), range(400))
    first = [moved[0]["feature"] for moved in told.values()]
    assert max(set(first), key=first.count) == "creatinine_mg_dl"
    assert first.count("noise") < 20


def test_nobody_to_explain_is_nothing_to_do(model: RegisteredModel) -> None:
    assert explain(model, cohort(5), []) == {}


def test_whoever_asked_for_an_explanation_is_let_go() -> None:
    program = """
import weakref
import numpy as np
from models.explanation import contributions_of
from tests.models.made import small_estimator

class OpenTables: pass

def caller():
    tables, rows = OpenTables(), np.random.default_rng(1).normal(size=(200, 2))
    contributions_of(small_estimator(1).fit(rows, rows[:, 0] > 1), rows[:1])
    return weakref.ref(tables)

print(caller()() is None)
"""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, timeout=120)
    assert (found.stdout, found.stderr) == ("True\n", "")
