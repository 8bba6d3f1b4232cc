"""Results that were wrong at first: amended later, or withdrawn as entered in error."""

import numpy as np

from integrations.synthetic_hospital.calendar import Floats
from integrations.synthetic_hospital.catalogue import ITEMS
from integrations.synthetic_hospital.frames import AMENDED, ENTERED_IN_ERROR, EVERYTHING, Results

AMENDED_SHARE, WITHDRAWN_SHARE = 0.004, 0.002


def with_usual_corrections(rng: np.random.Generator, results: Results) -> Results:
    """A few results are a third too high or too low at first, as happens in any laboratory."""
    dice = rng.random(len(results))
    wrong = results.value * rng.choice([0.7, 1.3], len(results))
    amended = np.flatnonzero(dice < AMENDED_SHARE)
    withdrawn = np.flatnonzero((dice >= AMENDED_SHARE) & (dice < AMENDED_SHARE + WITHDRAWN_SHARE))
    results = correct(results, amended, wrong[amended], AMENDED, 0.25)
    return correct(results, withdrawn, wrong[withdrawn], ENTERED_IN_ERROR, 0.35)


def correct(results: Results, rows: np.ndarray, wrong: Floats, status: int, after: float) -> Results:
    """Let some rows be issued with a wrong value first; a second version, `after` days later, mends or withdraws it."""
    decimals = np.array([item.decimals for item in ITEMS])[results.item[rows]]
    lowest = np.array([item.low for item in ITEMS])[results.item[rows]]
    scale = 10.0**decimals
    first_value = np.maximum(np.round(wrong * scale) / scale, lowest)
    second = results.take(rows)
    second_value = second.value if status == AMENDED else first_value
    second = second.put(EVERYTHING, status=status, issued=second.issued + after, value=second_value)
    return Results.join([results.put(rows, value=first_value), second])
