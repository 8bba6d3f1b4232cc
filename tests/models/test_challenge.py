"""The measures of the Challenge, told on a few patients that can be counted by hand."""

import numpy as np
import pytest

from tests.benchmarks.challenge import best_threshold, event_1, event_2

DIED = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 0])
RISK = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05])


def test_event_1_is_the_smaller_of_sensitivity_and_positive_predictivity() -> None:
    assert event_1(DIED, RISK >= 0.8) == pytest.approx(2 / 3)  # 2 of 3 deaths; 2 of 2 calls
    assert event_1(DIED, RISK >= 0.4) == pytest.approx(3 / 6)  # 3 of 3 deaths; 3 of 6 calls
    assert event_1(DIED, np.zeros(10)) == 0.0


def test_the_best_threshold_is_where_event_1_is_greatest() -> None:
    assert best_threshold(DIED, RISK) == 0.6
    assert event_1(DIED, RISK >= 0.6) == pytest.approx(3 / 4)


def test_event_2_sums_the_lack_of_each_tenth_and_divides_by_the_range_of_the_means() -> None:
    risk = np.repeat([0.1, 0.9], 10)
    died = np.array([1] + [0] * 9 + [1] * 9 + [0])
    per_tenth = [
        (died[at : at + 2].sum() - 2 * risk[at]) ** 2 / (2 * risk[at] * (1 - risk[at]) + 0.001)
        for at in range(0, 20, 2)
    ]
    assert event_2(died, risk) == pytest.approx(sum(per_tenth) / 0.8)
    assert event_2(1 - died, risk) > 5 * event_2(died, risk)
