"""How well death in intensive care is foretold on the 4,000 stays of set a, beside SAPS-I on the same stays.

Cross-validation in five folds by patient. In each the estimator of the use case is fitted on the other four, and the
threshold is chosen on patients of these four whom the fits that asked them had left out; the fold itself is only asked.
The 60 survivors whose length of stay was not published are asked, and never learnt from. All of it five times, with
other folds: the mean, and how far the five lie apart. No choice was made on these folds; the card says on which.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models.calibration import to_risk
from models.catalog import use_case
from models.estimators import CalibratedGradientBoosting
from models.figures import measure
from models.folds import person_folds, person_numbers
from models.matrix import as_matrix
from tests.benchmarks.challenge import best_threshold, event_1, event_2, outcomes, unpack
from tests.benchmarks.row import Row

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "physionet2012"
NAME, FOLDS, SEEDS = "icu_mortality_48h", 5, (0, 1, 2, 3, 4)
PUBLISHED = "published, hidden set: best 0.5353, SAPS-I 0.3125"


def rows() -> Iterator[Row]:
    """Yield the figures of the use case, of its parts alone, and of the peer."""
    if not SHARED.is_dir():
        yield Row(
            what="intensive care: ../shared/data/physionet2012 is not beside this checkout", figure=0, unit="stays"
        )
        return
    frame, seconds = _frame()
    yield Row(what="intensive care: ingest and features of set a", figure=seconds, unit="CPU s", detail="4,000 stays")
    known = outcomes(SHARED)
    names = [encounter.partition("/")[2] for encounter in frame["encounter_id"].to_pylist()]
    died = np.array([int(known[name]["In-hospital_death"]) for name in names])
    saps = np.array([float(known[name]["SAPS-I"]) for name in names])
    is_learnt = np.array([known[name]["Length_of_stay"] != "-1" for name in names])
    whole = use_case(NAME).estimator(SEEDS[0])
    peers = [_peer(died, saps, seed) for seed in SEEDS]
    for part, model in (("", whole), *((f", {_word(each)} alone", each) for each in whole.parts)):
        yield from _judged(part, model, frame, died, is_learnt, peers)


def _word(part: Any) -> str:
    return "trees" if isinstance(part, CalibratedGradientBoosting) else "lines"


def _judged(part: str, model: Any, frame: pa.Table, died: Any, is_learnt: Any, peers: list[float]) -> Iterator[Row]:
    """The rows of one model; bounds are those of the use case's own."""
    start = time.process_time()
    judged = [(_cross_validated(model, frame, died, is_learnt, seed), seed) for seed in SEEDS]
    seconds = (time.process_time() - start) / len(SEEDS)
    events = [event_1(died, is_called) for (_, is_called), _ in judged]
    figures = [measure(died, risk, np.arange(len(died)), seed=seed) for (risk, _), seed in judged]
    what = f"intensive care{part}: "
    bound = {"bound": 0.48} if not part else {}
    yield Row(what=what + "min(sensitivity, PPV)", **_five(events, PUBLISHED), **bound)
    ratios = [event / peer for event, peer in zip(events, peers, strict=True)]
    yield Row(what=what + "the same beside SAPS-I", **_five(ratios, f"SAPS-I here {np.mean(peers):.4f}", "times"))
    aurocs = [each.auroc.value or 0.0 for each in figures]
    yield Row(what=what + "AUROC", **_five(aurocs, f"of the first: {figures[0].auroc}"))
    hosmer = [event_2(died, risk) for (risk, _), _ in judged]
    yield Row(what=what + "range-normalised H", **_five(hosmer, "published, hidden set: best 17.88"))
    slopes = [each.calibration_slope.value or 0.0 for each in figures]
    yield Row(what=what + "calibration slope", **_five(slopes, f"of the first: O/E {figures[0].observed_expected}"))
    yield Row(what=what + "cross-validation", figure=seconds, unit="CPU s")


def _five(values: list[float], detail: str, unit: str = "") -> dict[str, Any]:
    """The mean of the five, and how far they lie apart."""
    apart = f"{min(values):.4f} to {max(values):.4f}, standard deviation {np.std(values, ddof=1):.4f}"
    return {"figure": float(np.mean(values)), "unit": unit, "detail": f"{apart}; {detail}"}


def _cross_validated(model: Any, frame: pa.Table, died: Any, is_learnt: Any, seed: int) -> tuple[Any, Any]:
    names = use_case(NAME).feature_names
    matrix, persons = as_matrix(frame, names), person_numbers(frame["patient_id"].to_numpy(zero_copy_only=False))
    folds = person_folds(persons, died, FOLDS, seed)
    signs = model.signs_of(names, len(names))
    risk, is_called = np.zeros(len(died)), np.zeros(len(died), dtype=bool)
    for fold in range(FOLDS):
        asked, learnt = folds == fold, (folds != fold) & is_learnt
        known = matrix[learnt], died[learnt], person_numbers(persons[learnt]), signs
        left_out = model.left_out_margins(*known)
        model.settle(matrix[learnt], died[learnt], signs, left_out)
        inner = to_risk(model.intercept_ + model.slope_ * left_out[0])
        risk[asked] = model.predict_proba(matrix[asked])[:, 1]
        is_called[asked] = risk[asked] >= best_threshold(left_out[1], inner)
    return risk, is_called


def _peer(died: Any, saps: Any, seed: int) -> float:
    folds = person_folds(np.arange(len(died)), died, FOLDS, seed)
    is_called = np.zeros(len(died), dtype=bool)
    for fold in range(FOLDS):
        asked = folds == fold
        is_called[asked] = saps[asked] >= best_threshold(died[~asked], saps[~asked])
    return event_1(died, is_called)


def _frame() -> tuple[pa.Table, float]:
    """Ingest set a by the command, and give every stay with its features; and what that cost."""
    from flows.cli import main

    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        unpack(SHARED, Path(folder) / "stays")
        (Path(folder) / "stays" / "Outcomes-a.txt").write_bytes((SHARED / "Outcomes-a.txt").read_bytes())
        os.environ["ROUNDS_HOME"] = str(Path(folder) / "home")
        if main(["ingest", "physionet2012", "--from", str(Path(folder) / "stays")]):
            raise SystemExit("the stays could not be ingested")
        frame = _features()
    return frame, time.process_time() - start


def _features() -> pa.Table:
    from flows.build_features import features_of
    from flows.due import Round
    from flows.house import open_house
    from models.cohort import cohort, eligible

    house = open_house()
    this = Round.of(house, NAME, as_of=datetime(2026, 1, 1, tzinfo=UTC))
    spine = eligible(cohort(house.open_snapshot(this.snapshot), this.case, this.as_of))
    return features_of(house, this, None, spine)
