"""What is frozen of the training rows, and how windows are held against it."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.monitoring.bins import codes_of, edges_of, psi, shares_of
from models.monitoring.reference import build_reference, by_chance
from tests.models.monitoring.conftest import FEATURES, rows


def test_deciles_hold_a_tenth_each_and_what_is_not_measured_has_its_own_bin() -> None:
    values = np.append(np.arange(90.0), [np.nan] * 10)
    edges = edges_of(values)
    assert shares_of(codes_of(values, edges), edges).tolist() == pytest.approx([*[0.09] * 10, 0.1])


def test_counts_keep_one_bin_per_value_and_one_below_the_smallest() -> None:
    values = np.repeat([0.0, 1.0, 2.0], [60, 30, 10])
    edges = edges_of(values)
    shares = shares_of(codes_of(values, edges), edges)
    assert shares.tolist() == pytest.approx([0.0, 0.6, 0.3, 0.1, 0.0])
    assert codes_of(np.array([-1.0]), edges).tolist() == [0]


def test_an_input_never_measured_has_no_bin_but_the_missing_one() -> None:
    edges = edges_of(np.full(5, np.nan))
    assert edges == []
    assert shares_of(codes_of(np.array([np.nan, 1.0]), edges), edges).tolist() == [0.5, 0.5]


def test_psi_is_zero_for_the_same_spread_and_the_textbook_sum_for_another() -> None:
    assert psi([0.5, 0.5], [0.5, 0.5]) == 0
    expected = (0.8 - 0.5) * np.log(0.8 / 0.5) + (0.2 - 0.5) * np.log(0.2 / 0.5)
    assert psi([0.8, 0.2], [0.5, 0.5]) == pytest.approx(expected)


def test_the_reference_is_small_plain_json_without_a_patient(reference: dict[str, Any]) -> None:
    text = json.dumps(reference, allow_nan=False)
    assert len(text) < 6_000 * (len(FEATURES) + 1)
    assert "demo_ehr" not in text
    assert reference["rows"] == 4000
    assert list(reference["features"]) == list(FEATURES)
    assert reference["features"]["creatinine_last_mg_dl"]["missing_share"] == pytest.approx(0.1, abs=0.02)
    assert reference["prediction"]["shares"][0] == pytest.approx(0.1, abs=0.01)


def test_building_it_twice_gives_the_same(reference: dict[str, Any]) -> None:
    assert build_reference(rows(4000, seed=1), FEATURES) == reference


def test_predictions_may_come_on_their_own_and_may_be_absent() -> None:
    frame = rows(300, seed=2).drop_columns(["probability"])
    assert build_reference(frame, FEATURES, resamples=5)["prediction"] is None
    none = pa.table({"patient_id": ["p"], "probability": pa.array([None], pa.float64())})
    assert build_reference(frame, FEATURES, predictions=none, resamples=5)["prediction"] is None
    held_out = rows(50, seed=2).rename_columns({"patient_id": "person_id"}).select(["person_id", "probability"])
    assert build_reference(frame, FEATURES, predictions=held_out, resamples=5)["prediction"]["edges"]


def test_chance_shrinks_with_the_window_and_is_read_between_two_sizes(reference: dict[str, Any]) -> None:
    part, sizes = reference["features"]["age_years"], reference["sizes"]
    at = [by_chance(part, "psi_99", sizes, count) for count in (10, 50, 200, 300, 400, 6400, 90_000)]
    assert at[0] == at[1] > at[2] > at[3] > at[4] > at[5] == at[6]
    assert at[2] == pytest.approx(part["psi_99"][sizes.index(200)])


def test_rows_of_one_patient_come_together_so_few_patients_move_by_chance_further() -> None:
    one_each = rows(2000, seed=3)
    alike = {name: np.repeat(one_each.column(name).to_numpy()[:100], 20) for name in one_each.column_names[2:]}
    alike |= {"patient_id": np.repeat(one_each.column("patient_id").to_numpy()[:100], 20)}
    few = build_reference(pa.table(alike), FEATURES, resamples=50)["features"]["age_years"]["psi_99"]
    many = build_reference(one_each, FEATURES, resamples=50)["features"]["age_years"]["psi_99"]
    assert few[2] > 3 * many[2]


def test_windows_without_drift_stay_under_chance_about_99_times_in_100(reference: dict[str, Any]) -> None:
    part = reference["features"]["age_years"]
    limit = by_chance(part, "psi_99", reference["sizes"], 250)
    over = 0
    for seed in range(300):
        values = rows(250, seed=1000 + seed).column("age_years").to_numpy()
        over += psi(shares_of(codes_of(values, part["edges"]), part["edges"]), part["shares"]) > limit
    assert over <= 15
