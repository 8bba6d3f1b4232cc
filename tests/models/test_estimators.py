"""The ready parts of a model: trees, lines, their mean, and the choice between them; each owes the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skops.io
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from integrations.errors import NotInOrder, WrongUsage
from models.artifacts import TRUSTED_TYPES, refuse_foreign_types
from models.calibration import Counts, Floats, to_risk
from models.choice import ChosenByCrossValidation
from models.estimators import CalibratedGradientBoosting
from models.explanation import contributions_of
from models.linear import CalibratedLinear, KinkedLines, RankedLines
from models.mean import CalibratedMean

NAMES = ("urea", "pressure", "sodium", "unmeasured", "constant")
MIDDLE = np.array([0.0, 0.0, 0.0, np.nan, 7.0])
Make = Callable[..., Any]


def trees(**given: Any) -> CalibratedGradientBoosting:
    return CalibratedGradientBoosting(
        **{"tree_count": 25, "learning_rate": 0.15, "leaf_count": 5, "fold_count": 3} | given
    )


def lines(**given: Any) -> CalibratedLinear:
    return CalibratedLinear(**{"penalty": 0.02, "fold_count": 3} | given)


def ranked(**given: Any) -> CalibratedLinear:
    return lines(by_rank=True, **given)


def mean(**given: Any) -> CalibratedMean:
    return CalibratedMean([trees(**given), lines(**given)], fold_count=3)


def choice(**given: Any) -> ChosenByCrossValidation:
    return ChosenByCrossValidation({"lines": lines(**given), "trees": trees(**given)}, fold_count=3)


EVERY = pytest.mark.parametrize(
    "make", [trees, lines, ranked, mean, choice], ids=["trees", "lines", "ranked", "mean", "choice"]
)


def patients(count: int, *, seed: int, is_step: bool = False) -> tuple[Floats, Counts]:
    """Urea raises the risk, a pressure far from its middle does too, sodium says nothing; a tenth is not measured."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, len(NAMES)))
    linear = -2.0 + values[:, 0] + 0.8 * np.abs(values[:, 1])
    if is_step:
        linear = -2.5 + 4.0 * ((values[:, 0] > 0) ^ (values[:, 1] > 0))
    labels = (random.random(count) < to_risk(linear)).astype(np.int64)
    values[random.random(values.shape) < 0.1] = np.nan
    values[:, 3], values[:, 4] = np.nan, 7.0
    return values, labels


@EVERY
def test_it_ranks_and_its_risk_is_that_which_is_observed(make: Make) -> None:
    values, labels = patients(1_500, seed=1)
    new, came_true = patients(4_000, seed=2)
    risk = make().fit(values, labels, feature_names=NAMES).predict_proba(new)[:, 1]
    order = np.argsort(risk)
    assert came_true[order[-400:]].mean() > 3 * came_true[order[:2_000]].mean()
    assert 0.85 < came_true.sum() / risk.sum() < 1.15


@EVERY
def test_it_is_the_same_for_the_same_seed(make: Make) -> None:
    values, labels = patients(600, seed=3)
    first, again = (make(seed=5).fit(values, labels, feature_names=NAMES).predict_proba(values) for _ in range(2))
    assert first.tobytes() == again.tobytes()


@EVERY
def test_a_column_that_nobody_was_measured_in_or_that_never_changes_does_not_matter(make: Make) -> None:
    values, labels = patients(600, seed=4)
    model = make().fit(values, labels, feature_names=NAMES)
    other = values.copy()
    other[:, 4] = 7.5
    assert np.allclose(model.predict_proba(values), model.predict_proba(other))
    assert np.isfinite(model.predict_proba(np.full((3, len(NAMES)), np.nan))).all()
    assert np.isfinite(make().fit(np.full((60, 5), np.nan), labels[:60]).predict_proba(values)).all()


@EVERY
def test_a_direction_holds_over_the_whole_range_of_a_feature(make: Make) -> None:
    values, labels = patients(500, seed=5)
    asked = np.tile(MIDDLE, (80, 1))
    asked[:, 2] = np.linspace(-4, 4, 80)
    free = make().fit(values, labels, feature_names=NAMES).margin(asked)
    rising = make(directions={"sodium": 1}).fit(values, labels, feature_names=NAMES).margin(asked)
    falling = make(directions={"sodium": -1}).fit(values, labels, feature_names=NAMES).margin(asked)
    assert (np.diff(rising) >= -1e-9).all()
    assert (np.diff(falling) <= 1e-9).all()
    assert (np.diff(free) > 1e-9).any() or (np.diff(free) < -1e-9).any(), "the test would see no difference"


@EVERY
def test_a_direction_of_no_feature_or_of_no_sign_is_refused(make: Make) -> None:
    values, labels = patients(200, seed=6)
    for directions in ({"sodiun": 1}, {"sodium": 2}):
        with pytest.raises(WrongUsage, match=next(iter(directions))):
            make(directions=directions).fit(values, labels, feature_names=NAMES)


def test_parts_of_a_mean_must_agree_on_directions() -> None:
    values, labels = patients(200, seed=6)
    model = CalibratedMean([trees(directions={"urea": 1}), lines()])
    with pytest.raises(WrongUsage, match="different directions"):
        model.fit(values, labels, feature_names=NAMES)


@EVERY
def test_what_the_features_add_and_the_mean_make_up_the_margin(make: Make) -> None:
    values, labels = patients(600, seed=7)
    model = make().fit(values, labels, feature_names=NAMES)
    added = contributions_of(model, values)
    rest = model.margin(values) - added.sum(axis=1)
    assert added.shape == values.shape
    assert np.ptp(rest) < 1e-6
    assert np.abs(added[:, 0]).mean() > 2 * np.abs(added[:, 2]).mean()


@EVERY
def test_it_can_be_loaded_by_our_own_list_of_types_and_answers_as_before(make: Make) -> None:
    values, labels = patients(400, seed=8)
    model = make(directions={"urea": 1}).fit(values, labels, feature_names=NAMES)
    kept = skops.io.dumps(model)
    refuse_foreign_types(kept, "a version")
    again: Any = skops.io.loads(kept, trusted=list(TRUSTED_TYPES))
    assert again.predict_proba(values).tobytes() == model.predict_proba(values).tobytes()


def test_a_type_that_is_not_on_the_list_is_still_refused() -> None:
    stranger = CalibratedMean([trees()])
    stranger.parts = [np.random.RandomState(1), _Stranger()]
    with pytest.raises(NotInOrder, match="_Stranger"):
        refuse_foreign_types(skops.io.dumps(stranger), "a version")


class _Stranger:
    pass


@EVERY
def test_outcomes_of_one_kind_give_one_risk_for_all(make: Make) -> None:
    values, _ = patients(100, seed=9)
    model = make().fit(values, np.zeros(100, np.int64), feature_names=NAMES)
    assert len(np.unique(model.predict_proba(values)[:, 1])) == 1
    assert (contributions_of(model, values) == 0).all()


@pytest.mark.parametrize("is_step", [False, True])
def test_the_choice_is_what_does_better_on_patients_who_were_left_out(is_step: bool) -> None:
    values, labels = patients(1_500, seed=10, is_step=is_step)
    model = choice().fit(values, labels, feature_names=NAMES)
    assert model.chosen_name_ == ("trees" if is_step else "lines")
    assert model.losses_["trees" if is_step else "lines"] == min(model.losses_.values())
    assert not model.is_by_time_


def test_two_rows_of_one_person_are_never_parted_by_the_choice() -> None:
    values, labels = patients(400, seed=11)
    twice, both, persons = np.repeat(values, 2, axis=0), np.repeat(labels, 2), np.repeat(np.arange(400), 2)
    by_person = choice().fit(twice, both, groups=persons, feature_names=NAMES)
    by_row = choice().fit(twice, both, feature_names=NAMES)
    assert by_row.losses_["trees"] < by_person.losses_["trees"], "a row that was learnt by heart looks well predicted"


def test_where_dates_mean_something_the_choice_is_on_later_rows() -> None:
    early, labels = patients(1_500, seed=12)
    late, came_true = patients(500, seed=13, is_step=True)
    values, known = np.vstack([early, late]), np.concatenate([labels, came_true])
    times = np.concatenate([np.linspace(0, 79, 1_500), np.linspace(81, 100, 500)])
    model = choice().fit(values, known, feature_names=NAMES, times=times)
    assert model.is_by_time_
    assert min(model.losses_.values()) > 1.2 * min(choice().fit(values, known, feature_names=NAMES).losses_.values())
    few = choice().fit(early[:200], labels[:200], feature_names=NAMES, times=np.arange(200.0))
    assert not few.is_by_time_, "too few later outcomes to choose by"


def test_lines_count_a_value_beyond_the_last_hundredth_as_that() -> None:
    values, labels = patients(800, seed=14)
    ranker = KinkedLines().fit(values, labels, np.zeros(5, np.int64), penalty=0.02, min_value_rows=20)
    far = np.tile(MIDDLE, (2, 1))
    far[:, 0] = [10.0, 10_000.0]
    first, second = ranker.decision_function(far)
    assert first == second


def test_by_rank_a_long_tail_counts_no_more_than_a_short_one() -> None:
    """Urea as it is, and stretched: the order of patients is the same, so what is learnt of them is."""
    values, labels = patients(800, seed=15)
    stretched = values.copy()
    stretched[:, 0] = np.exp(2 * values[:, 0])
    signs = np.zeros(5, np.int64)
    given = {"penalty": 0.02, "min_value_rows": 20}
    plain, far = (
        RankedLines().fit(each, labels, signs, **given).decision_function(each) for each in (values, stretched)
    )
    assert np.abs(plain - far).max() < 0.1
    kinked, bent = (
        KinkedLines().fit(each, labels, signs, **given).decision_function(each) for each in (values, stretched)
    )
    assert np.abs(kinked - bent).max() > 0.5, "lines over the values would pass"


def test_by_rank_what_few_were_measured_in_counts_for_less_than_what_all_were() -> None:
    values, labels = patients(2_000, seed=16)
    seldom = values.copy()
    seldom[np.arange(2_000) % 20 > 0, 0] = np.nan
    signs = np.zeros(5, np.int64)
    often, rarely = (
        RankedLines().fit(each, labels, signs, penalty=0.2, min_value_rows=20).weights_[5] for each in (values, seldom)
    )
    assert 0 < rarely < often / 3


class Looking(CalibratedLinear):
    """Lines that note how many threads a product of matrices would get while they are fitted."""

    def rank(self, rows: Floats, labels: Counts, signs: Counts) -> KinkedLines:
        COUNTS.update(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas")
        return super().rank(rows, labels, signs)


COUNTS: set[int] = set()


@pytest.mark.parametrize("few_rows", [0, 500_000])
@pytest.mark.parametrize(
    "make", [Looking, lambda: CalibratedMean([Looking()]), lambda: ChosenByCrossValidation({"lines": Looking()})]
)
def test_products_of_matrices_have_one_thread_in_a_fit_of_few_rows_or_many(
    make: Make, few_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.calibrated.FEW_ROWS", few_rows)
    COUNTS.clear()
    with threadpool_limits(4):
        make().fit(*patients(1_500, seed=1))
    assert {1} == COUNTS
