"""How well death in intensive care is foretold on the 4,000 stays of set a, beside SAPS-I on the same stays.

Cross-validation in five folds by patient. In each the estimator of the use case is fitted on the other four, and the
threshold is chosen on patients of these four whom the fits that asked them had left out; the fold itself is only asked.
The 60 survivors whose length of stay was not published are asked, and never learnt from.
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
NAME, FOLDS, SEED = "icu_mortality_48h", 5, 0
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
    peer = _peer(died, saps)
    whole = use_case(NAME).estimator(SEED)
    for part, model in (("", whole), *((f", {_word(each)} alone", each) for each in whole.parts)):
        yield from _judged(part, model, frame, died, is_learnt, peer)


def _word(part: Any) -> str:
    return "trees" if isinstance(part, CalibratedGradientBoosting) else "lines"


def _judged(part: str, model: Any, frame: pa.Table, died: Any, is_learnt: Any, peer: float) -> Iterator[Row]:
    """The rows of one model; bounds are those of the use case's own."""
    start = time.process_time()
    risk, is_called = _cross_validated(model, frame, died, is_learnt)
    seconds = time.process_time() - start
    figures = measure(died, risk, np.arange(len(died)), seed=SEED)
    what, event = f"intensive care{part}: ", event_1(died, is_called)
    bound = {"bound": 0.48} if not part else {}
    yield Row(what=what + "min(sensitivity, PPV)", figure=event, unit="", detail=PUBLISHED, **bound)
    yield Row(what=what + "the same beside SAPS-I", figure=event / peer, unit="times", detail=f"SAPS-I here {peer:.4f}")
    yield Row(what=what + "AUROC", figure=figures.auroc.value or 0.0, unit="", detail=str(figures.auroc))
    yield Row(
        what=what + "range-normalised H",
        figure=event_2(died, risk),
        unit="",
        detail="published, hidden set: best 17.88",
    )
    slope, ratio = figures.calibration_slope, figures.observed_expected
    yield Row(what=what + "calibration slope", figure=slope.value or 0.0, unit="", detail=f"{slope}; O/E {ratio}")
    yield Row(what=what + "cross-validation", figure=seconds, unit="CPU s")


def _cross_validated(model: Any, frame: pa.Table, died: Any, is_learnt: Any) -> tuple[Any, Any]:
    names = use_case(NAME).feature_names
    matrix, persons = as_matrix(frame, names), person_numbers(frame["patient_id"].to_numpy(zero_copy_only=False))
    folds = person_folds(persons, died, FOLDS, SEED)
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


def _peer(died: Any, saps: Any) -> float:
    folds = person_folds(np.arange(len(died)), died, FOLDS, SEED)
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
