"""How a candidate is fitted: on all that is known, of few patients too, and the same way each time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io

from integrations.errors import NotInOrder, Refused
from models.aki_48h.estimator import build_estimator as aki_48h
from models.artifacts import refuse_foreign_types
from models.calibration import calibration_line, to_margin
from models.estimators import CalibratedGradientBoosting
from models.explanation import contributions_of
from models.matrix import as_matrix
from models.readmission_30d.estimator import build_estimator as readmission_30d
from models.training import labels_of, train, without_held
from tests.models.conftest import Trained
from tests.models.made import USE_CASE, cohort, holds, stays, use_case

NAMES = USE_CASE.feature_names


def risk_of(model: CalibratedGradientBoosting, frame: pa.Table) -> np.ndarray:
    return model.predict_proba(as_matrix(frame, NAMES))[:, 1]


def with_column(frame: pa.Table, name: str, values: object) -> pa.Table:
    return frame.set_column(frame.column_names.index(name), name, [values])


def test_a_candidate_says_what_it_was_fitted_on(trained: Trained) -> None:
    candidate = trained.candidate
    assert (candidate.row_count, candidate.outcome_count) == (3_000, int(labels_of(trained.frame).sum()))
    assert candidate.person_count == len(set(trained.frame["person_id"].to_pylist()))
    assert candidate.first_prediction_time == min(trained.frame["prediction_time"].to_pylist())
    assert candidate.last_prediction_time == max(trained.frame["prediction_time"].to_pylist())


def test_the_same_seed_gives_the_same_risks_to_the_last_bit(trained: Trained) -> None:
    again = train(USE_CASE, trained.frame, seed=1)
    assert (risk_of(again.estimator, trained.frame) == risk_of(trained.candidate.estimator, trained.frame)).all()


def test_calibration_never_changes_who_is_at_higher_risk(trained: Trained) -> None:
    model = trained.candidate.estimator
    margin, risk = model.margin(as_matrix(trained.frame, NAMES)), risk_of(model, trained.frame)
    assert (np.diff(risk[np.argsort(margin)]) >= 0).all()


def test_labels_without_meaning_flatten_the_risk_but_do_not_turn_it_round() -> None:
    frame = cohort(400)
    shuffled = np.random.default_rng(3).permutation(labels_of(frame))
    model = train(USE_CASE, with_column(frame, "label", shuffled), seed=1).estimator
    assert 0 < model.slope_ < 0.5


def test_the_risk_of_new_patients_is_right_on_average(trained: Trained) -> None:
    new = cohort(5_000, seed=9)
    assert risk_of(trained.candidate.estimator, new).mean() == pytest.approx(labels_of(new).mean(), rel=0.1)


def test_the_line_finds_the_distortion_that_was_put_in() -> None:
    random = np.random.default_rng(0)
    margin = random.normal(-1, 1, 200_000)
    labels = (random.random(200_000) < 1 / (1 + np.exp(-margin))).astype(np.int64)
    intercept, slope = calibration_line(2 * margin + 1, labels)
    assert (intercept, slope) == pytest.approx((-0.5, 0.5), abs=0.02)


def test_risks_of_new_patients_are_neither_timid_nor_bold_though_each_patient_gives_many_rows() -> None:
    new, came_true, _ = stays(20_000, rows_each=1, seed=99)
    slopes = []
    for draw in range(8):
        values, labels, persons = stays(400, rows_each=30, seed=draw)
        recipe = CalibratedGradientBoosting(tree_count=20, learning_rate=0.15, leaf_count=4, min_leaf_rows=300)
        risk = recipe.fit(values, labels, groups=persons).predict_proba(new)[:, 1]
        slopes.append(calibration_line(to_margin(risk), came_true, prior_weight=0.0)[1])
    distance = np.log(slopes)
    assert abs(distance.mean()) < 0.10
    assert distance.std() < 0.20


@pytest.mark.parametrize(
    ("enough", "share"), [pytest.param(1, 0.1, id="one fold is enough"), pytest.param(40, 1.0, id="all there are")]
)
def test_folds_are_left_out_until_enough_patients_with_the_outcome_have_been(enough: int, share: float) -> None:
    values, labels, persons = stays(100, rows_each=10, seed=1)  # 180 rows with the outcome, of 18 patients
    model = CalibratedGradientBoosting(tree_count=5, calibration_person_count=enough)
    margins, known = model.left_out_margins(values, labels, persons, np.zeros(values.shape[1], np.int64))
    assert len(margins) == len(known) == share * len(labels)


def test_columns_that_were_never_measured_or_never_change_do_not_matter() -> None:
    frame = with_column(cohort(500), "noise", pa.nulls(500, pa.float64()))
    frame = with_column(frame, "pulse", np.full(500, 7.0))
    model = train(USE_CASE, frame, seed=1).estimator
    measured_later = with_column(with_column(frame, "noise", np.arange(500.0)), "pulse", np.arange(500.0))
    assert (risk_of(model, measured_later) == risk_of(model, frame)).all()


@pytest.mark.parametrize("rows", [50, 250])
def test_two_outcomes_are_enough_to_fit(rows: int) -> None:
    labels = np.zeros(rows, dtype=np.int8)
    labels[[3, rows - 5]] = 1
    candidate = train(USE_CASE, with_column(cohort(rows), "label", labels), seed=1)
    assert candidate.outcome_count == 2
    assert risk_of(candidate.estimator, cohort(rows)).mean() < 0.2


def test_outcomes_of_one_patient_only_can_be_fitted_but_not_left_out() -> None:
    labels = np.zeros(60, dtype=np.int8)
    labels[:2] = 1
    frame = with_column(cohort(60), "label", labels)
    frame = with_column(frame, "person_id", ["one", "one", *(f"p{row}" for row in range(58))])
    assert train(USE_CASE, frame, seed=1).estimator.slope_ > 0


@pytest.mark.parametrize("label", [0, 1])
def test_outcomes_of_one_kind_give_everybody_the_share_that_was_seen_and_no_cause(label: int) -> None:
    frame = with_column(cohort(60), "label", np.full(60, label, dtype=np.int8))
    estimator = train(USE_CASE, frame, seed=1).estimator
    matrix = as_matrix(frame, USE_CASE.feature_names)
    risks = estimator.predict_proba(matrix)[:, 1]
    assert risks == pytest.approx(np.full(60, (60 * label + 0.5) / 61))
    assert not contributions_of(estimator, matrix).any()


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(Refused, match="no row has a known outcome"):
        train(USE_CASE, cohort(10).slice(0, 0), seed=1)


def test_held_rows_are_dropped_and_counted_and_the_others_stay_in_order() -> None:
    frame = cohort(20)
    at = frame["prediction_time"].to_pylist()
    held = holds(
        ("demo_ehr/e3", at[3], "labs", "unknown_unit"),
        ("demo_ehr/e3", at[3], "vitals", "bad_value"),
        ("demo_ehr/e5", at[6], "labs", "unknown_unit"),  # another prediction_time of a bystander
    )
    kept, dropped = without_held(frame, held)
    assert dropped == 1
    assert kept["encounter_id"].to_pylist() == [f"demo_ehr/e{row}" for row in range(20) if row != 3]
    assert without_held(frame, holds())[0].equals(frame)


def test_columns_are_taken_by_name_and_become_doubles() -> None:
    frame = pa.table({"b": pa.array([True, None]), "a": pa.array([1, 2], pa.int32()), "c": pa.nulls(2)})
    matrix = as_matrix(frame, ["a", "b", "c"])
    np.testing.assert_array_equal(matrix, [[1.0, 1.0, np.nan], [2.0, np.nan, np.nan]])


@pytest.mark.parametrize(
    ("column", "error", "words"),
    [
        pytest.param({}, NotInOrder, "1 of 2 features are not in the frame: b", id="missing"),
        pytest.param({"b": ["1.5"]}, NotInOrder, "feature b is string, not a number", id="text"),
        pytest.param({"b": [float("inf")]}, Refused, r"infinite values in b \(1 rows\)", id="infinite"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_by_name(
    column: dict[str, list[object]], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        as_matrix(pa.table({"a": [1.0], **column}), ["a", "b"])


def test_without_patients_to_leave_out_the_margin_stands_as_it_is() -> None:
    assert calibration_line(np.empty(0), np.empty(0, np.int64)) == (0.0, 1.0)


@pytest.mark.parametrize("build", [readmission_30d, aki_48h])
def test_the_model_of_each_use_case_learns_who_is_at_risk(build: Callable[[int], Any]) -> None:
    frame, new = cohort(1_500), cohort(1_500, seed=11)
    model = train(use_case(estimator=build), frame, seed=1).estimator
    decided = model.predict(as_matrix(new, NAMES))
    assert set(decided) <= {0, 1}
    risk, labels = risk_of(model, new), labels_of(new)
    assert risk[labels == 1].mean() > 1.3 * risk[labels == 0].mean()
    assert ((risk >= 0.5) == (decided == 1)).all()
    refuse_foreign_types(skops.io.dumps(model), "the model")  # it can be kept
