"""How a candidate is judged: on the newest rows, of patients the fit has not seen, with intervals over patients."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from models.calibration import to_risk
from models.evaluation import Champion, champion_risk, evaluate
from models.evaluation_report import calibration_points, evaluation_report
from models.figures import Figure, Figures, auroc_difference, measure
from models.gate import ChampionComparison, judge
from models.training import labels_of
from tests.models.conftest import Trained
from tests.models.made import USE_CASE, cohort, use_case

LONG_AGO, NEVER = datetime(1990, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
CERTAIN = Figure(value=0.75, lower=0.70, upper=0.80)
RIGHT = Figure(value=1.0, lower=0.9, upper=1.1)
GOOD = Figures(
    rows=2_000,
    persons=1_500,
    outcomes=300,
    auroc=CERTAIN,
    calibration_slope=RIGHT,
    calibration_intercept=Figure(value=0.0, lower=-0.1, upper=0.1),
    observed_expected=RIGHT,
    brier=Figure(value=0.1, lower=0.09, upper=0.11),
)


@dataclass
class Diary:
    """An estimator that writes down which rows it was fitted on and asked for; row numbers come as its only feature."""

    fits: list[tuple[list[int], list[int]]] = field(default_factory=list)

    def fit(self, matrix: Any, labels: Any, groups: Any, **_: Any) -> Self:
        self.known = matrix[:, 0].astype(int).tolist()
        assert len(self.known) == len(labels) == len(groups)
        return self

    def predict_proba(self, matrix: Any) -> Any:
        self.fits.append((self.known, matrix[:, 0].astype(int).tolist()))
        return np.column_stack([np.full(len(matrix), 0.8), np.full(len(matrix), 0.2)])


def diary_of(frame: pa.Table, *, time_is_usable: bool) -> Diary:
    diary = Diary()
    numbered = frame.append_column("row", pa.array(np.arange(frame.num_rows, dtype=float)))
    asked = use_case(features=("diary:row",), subgroups=(), estimator=lambda seed: Diary(diary.fits))
    evaluate(asked, numbered, seed=1, time_is_usable=time_is_usable, resamples=2)
    return diary


def test_each_held_out_row_is_predicted_once_by_a_fit_on_earlier_rows_of_other_patients() -> None:
    frame = cohort(600, patients=200)
    at, person = frame["prediction_time"].to_pylist(), frame["person_id"].to_pylist()
    start = at[-1] - (at[-1] - at[0]) * 0.2
    fits = diary_of(frame, time_is_usable=True).fits
    assert sorted(row for _, asked in fits for row in asked) == [row for row in range(600) if at[row] >= start]
    for known, asked in fits:
        assert max(at[row] for row in known) < start
        assert not {person[row] for row in known} & {person[row] for row in asked}
        assert len(known) > 300  # all earlier rows of the other four fifths


def test_where_dates_are_shifted_every_row_is_predicted_by_a_fit_on_other_patients() -> None:
    frame = cohort(300, patients=100)
    person = frame["person_id"].to_pylist()
    fits = diary_of(frame, time_is_usable=False).fits
    assert sorted(row for _, asked in fits for row in asked) == list(range(300))
    assert all(not {person[row] for row in known} & {person[row] for row in asked} for known, asked in fits)


def test_a_good_candidate_passes_and_its_held_out_rows_can_be_compared(trained: Trained) -> None:
    evaluation = trained.evaluation
    assert (evaluation.gate, evaluation.unscored_row_count) == ("pass", 0)
    assert evaluation.figures is not None
    kept = evaluation.held_out
    assert kept.column_names == ["encounter_id", "prediction_time", "person_id", "label", "probability"]
    assert kept.num_rows == evaluation.figures.rows
    assert evaluation.figures.auroc.value == pytest.approx(
        roc_auc_score(labels_of(kept), kept["probability"].to_numpy())
    )
    assert evaluation.held_out_from is not None
    assert min(kept["prediction_time"].to_pylist()) >= evaluation.held_out_from


def test_few_patients_are_said_to_be_few_and_not_judged() -> None:
    evaluation = evaluate(USE_CASE, cohort(120), seed=1, resamples=20)
    assert evaluation.gate == "not enough data"
    assert evaluation.reasons[0].startswith("There are too few patients to judge: ")
    assert "the gate asks for at least 500 rows and 100 outcomes" in evaluation.reasons[0]


def test_rows_whose_fold_cannot_be_fitted_are_counted_and_not_scored() -> None:
    frame = cohort(60)
    labels = np.zeros(60, dtype=np.int8)
    labels[-1] = 1  # no outcome before the held-out time
    frame = frame.set_column(frame.column_names.index("label"), "label", [labels])
    evaluation = evaluate(USE_CASE, frame, seed=1, resamples=20)
    assert evaluation.figures is None
    assert evaluation.unscored_row_count > 0
    assert "0 held-out rows with 0 outcomes" in evaluation.reasons[0]
    assert b"too few rows" in evaluation_report(USE_CASE, _candidate(), evaluation)


def test_auroc_counts_pairs_and_ties_as_one_half() -> None:
    random = np.random.default_rng(2)
    labels, risk = (random.random(400) < 0.3).astype(np.int64), np.round(random.random(400), 1)
    figures = measure(labels, risk, np.arange(400), seed=1, resamples=2)
    assert figures.auroc.value == pytest.approx(roc_auc_score(labels, risk))


def test_the_figures_find_the_distortions_that_were_put_in() -> None:
    random = np.random.default_rng(0)
    margin = random.normal(-1.5, 1, 40_000)
    labels = (random.random(40_000) < to_risk(margin)).astype(np.int64)
    persons = np.arange(40_000)
    steep = measure(labels, to_risk(2 * margin), persons, seed=1, resamples=2)
    low = measure(labels, to_risk(margin - 0.7), persons, seed=1, resamples=2)
    assert steep.calibration_slope.value == pytest.approx(0.5, abs=0.02)
    assert low.calibration_slope.value == pytest.approx(1.0, abs=0.05)
    assert low.calibration_intercept.value == pytest.approx(0.7, abs=0.04)
    assert low.observed_expected.value == pytest.approx(labels.sum() / to_risk(margin - 0.7).sum())
    assert low.brier.value == pytest.approx(((labels - to_risk(margin - 0.7)) ** 2).mean())


def test_intervals_hold_the_truth_about_as_often_as_they_should() -> None:
    random, within = np.random.default_rng(5), 0
    for repeat in range(25):
        margin = random.normal(-1, 1, 400)
        labels = (random.random(400) < to_risk(margin)).astype(np.int64)
        figure = measure(labels, to_risk(margin), np.arange(400), seed=repeat, resamples=100).calibration_slope
        assert figure.lower is not None
        assert figure.upper is not None
        within += figure.lower <= 1 <= figure.upper
    assert within >= 21


def test_intervals_resample_patients_so_repeated_rows_of_a_patient_prove_nothing() -> None:
    random = np.random.default_rng(1)
    labels, risk = (random.random(300) < 0.3).astype(np.int64), random.random(300)
    once = measure(labels, risk, np.arange(300), seed=1, resamples=200)
    tenfold = measure(np.repeat(labels, 10), np.repeat(risk, 10), np.repeat(np.arange(300), 10), seed=1, resamples=200)
    for name in ("auroc", "calibration_slope", "observed_expected", "brier"):
        for bound in ("lower", "upper"):
            expected = getattr(getattr(once, name), bound)
            assert getattr(getattr(tenfold, name), bound) == pytest.approx(expected, rel=1e-3)


def test_a_figure_that_cannot_be_computed_says_so() -> None:
    figures = measure(np.zeros(5, np.int64), np.full(5, 0.1), np.arange(5), seed=1)
    assert str(figures.auroc) == "not computable"
    assert figures.calibration_intercept.value is None
    assert str(Figure(value=0.5, lower=None, upper=None)) == "0.500"
    one_person = measure(np.array([0, 1]), np.array([0.1, 0.2]), np.zeros(2, np.int64), seed=1, resamples=1)
    assert (one_person.auroc.value, one_person.auroc.lower) == (1.0, None)


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, "pass", "AUROC is 0.750 (95 % interval 0.700 to 0.800); its lower bound reaches 0.60."),
        ({"rows": 499}, "not enough data", "499 held-out rows with 300 outcomes"),
        ({"outcomes": 99}, "not enough data", "2000 held-out rows with 99 outcomes"),
        ({"auroc": Figure(value=0.75, lower=0.59, upper=0.8)}, "fail", "its lower bound does not reach 0.60"),
        ({"auroc": Figure(value=0.75, lower=None, upper=None)}, "fail", "its lower bound does not reach 0.60"),
        ({"calibration_slope": replace(RIGHT, value=0.79)}, "fail", "calibration slope is 0.790"),
        ({"calibration_slope": replace(RIGHT, value=1.26)}, "fail", "outside 0.8 to 1.25"),
        ({"observed_expected": replace(RIGHT, value=1.26)}, "fail", "Observed over expected outcomes is 1.260"),
        ({"observed_expected": Figure(value=None, lower=None, upper=None)}, "fail", "not computable, outside"),
    ],
)
def test_the_gate_gives_its_verdict_with_the_deciding_reason_first(
    change: dict[str, Any], verdict: str, words: str
) -> None:
    found, reasons = judge(USE_CASE.gate, replace(GOOD, **change), None)
    assert (found, words in reasons[0]) == (verdict, True)


@pytest.mark.parametrize(
    ("lower", "verdict", "words"),
    [
        (0.001, "fail", "the candidate is worse"),
        (-0.001, "pass", "the candidate is not shown to be worse"),
        (None, "pass", "cannot be computed: 700 rows that neither was fitted on, 90 outcomes"),
    ],
)
def test_a_champion_that_is_surely_better_stops_the_candidate(lower: float | None, verdict: str, words: str) -> None:
    difference = Figure(value=0.02, lower=lower, upper=lower and 0.05)
    comparison = ChampionComparison(version=3, rows=700, outcomes=90, difference=difference)
    found, reasons = judge(USE_CASE.gate, GOOD, comparison)
    sentence = next(reason for reason in reasons if "Champion version 3 minus candidate AUROC" in reason)
    assert (found, words in sentence) == (verdict, True)


@dataclass
class Oracle:
    """A champion that knows the label."""

    def predict(self, frame: pa.Table) -> Any:
        return np.where(labels_of(frame) == 1, 0.9, 0.1)


def test_a_champion_is_asked_only_for_rows_that_it_was_not_fitted_on() -> None:
    frame = cohort(30)
    known_at = frame["label_known_at"].to_pylist()
    own = frame.slice(10, 5).append_column("probability", pa.array([0.33] * 5))
    champion = Champion(version=2, scorer=Oracle(), trained_at=known_at[19], held_out=own)
    risk = champion_risk(champion, frame)
    assert np.isnan(risk[[*range(10), *range(15, 20)]]).all()  # it was fitted on these
    assert (risk[10:15] == 0.33).all()  # what it said in its own evaluation
    assert set(risk[20:]) <= {0.1, 0.9}  # outcome known only after its training


def test_a_champion_that_knows_more_wins_the_comparison_and_stops_the_candidate(trained: Trained) -> None:
    frame = cohort(1_500, base=-1.0)
    oracle = Champion(
        version=7,
        scorer=Oracle(),
        trained_at=LONG_AGO,
        held_out=trained.evaluation.held_out.slice(0, 0),
    )
    lax = use_case(gate=replace(USE_CASE.gate, min_rows=50, min_outcomes=20))
    evaluation = evaluate(lax, frame, seed=1, champion=oracle, resamples=50)
    assert evaluation.champion is not None
    assert evaluation.figures is not None
    assert evaluation.champion.rows == evaluation.figures.rows
    assert evaluation.gate == "fail"
    assert "the candidate is worse" in " ".join(evaluation.reasons)
    blind = evaluate(lax, frame, seed=1, champion=replace(oracle, trained_at=NEVER), resamples=50)
    assert blind.champion is not None
    assert (blind.champion.rows, blind.champion.difference.value) == (0, None)


def test_the_comparison_is_paired() -> None:
    random = np.random.default_rng(1)
    labels, risk = (random.random(500) < 0.3).astype(np.int64), random.random(500)
    assert auroc_difference(labels, risk, risk, np.arange(500), seed=1, resamples=50) == Figure(
        value=0.0, lower=0.0, upper=0.0
    )


def test_subgroups_are_shown_from_30_outcomes_on(trained: Trained) -> None:
    groups = {group.name: group for group in trained.evaluation.subgroups}
    sexes = [groups["is_female 0"], groups["is_female 1"], groups["is_female not known"]]
    ages = [group for name, group in groups.items() if name.startswith("age_years") and "not known" not in name]
    assert trained.evaluation.figures is not None
    assert sum(group.rows for group in sexes) == trained.evaluation.figures.rows
    assert len(ages) == 3
    assert all((group.auroc is not None) == (group.outcomes >= 30) for group in groups.values())
    assert {group.auroc is None for group in groups.values()} == {True, False}


def test_two_sites_are_subgroups() -> None:
    frame = cohort(300)
    sites = ["east" if row % 3 else "west" for row in range(300)]
    frame = frame.set_column(0, "site_id", [sites])
    names = [group.name for group in evaluate(USE_CASE, frame, seed=1, resamples=5).subgroups]
    assert names[:2] == ["site_id east", "site_id west"]


def test_the_evaluation_is_json_without_rows(trained: Trained) -> None:
    found = json.loads(json.dumps(trained.evaluation.to_json()))
    assert found["gate"] == "pass"
    assert found["figures"]["auroc"]["lower"] < found["figures"]["auroc"]["value"]
    assert found["held_out_from"].endswith("+00:00")
    assert "held_out" not in found
    assert trained.evaluation.metrics()["rows"] == found["figures"]["rows"]


def test_the_report_stands_alone_and_names_no_patient(trained: Trained) -> None:
    page = evaluation_report(USE_CASE, trained.candidate, trained.evaluation)
    text = page.decode()
    assert page == evaluation_report(USE_CASE, trained.candidate, trained.evaluation)
    assert "<strong>pass</strong>" in text
    assert all(reason in text for reason in trained.evaluation.reasons)
    assert text.count("<circle") == 10
    for unwanted in ("http", "<script", "demo_ehr", " src="):
        assert unwanted not in text


def test_the_report_shows_the_champion_beside_the_candidate(trained: Trained) -> None:
    comparison = ChampionComparison(version=3, rows=700, outcomes=90, difference=CERTAIN)
    page = evaluation_report(USE_CASE, trained.candidate, replace(trained.evaluation, champion=comparison))
    assert "champion version 3 minus candidate AUROC" in page.decode()


def test_the_calibration_plot_shows_what_happened_in_each_tenth_of_the_rows() -> None:
    risk = np.repeat([0.1, 0.5], [500, 500])
    labels = np.concatenate([np.arange(500) % 10 == 0, np.arange(500) % 2 == 0]).astype(np.int64)
    points = list(calibration_points(risk, labels))
    assert [predicted for predicted, *_ in points] == pytest.approx([0.1] * 5 + [0.5] * 5)
    assert [observed for _, observed, *_ in points] == pytest.approx([0.1] * 5 + [0.5] * 5)
    assert all(lower < observed < upper for _, observed, lower, upper in points)


def _candidate() -> Any:
    from models.training import train

    return train(USE_CASE, cohort(60), seed=1)
