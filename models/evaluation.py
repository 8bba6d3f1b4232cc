"""Try the candidate's recipe on the newest patients, none of whom it was fitted on, and let the gate judge."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.calibration import Floats
from models.figures import RESAMPLES, auroc_difference, measure
from models.folds import person_folds
from models.gate import ChampionComparison, Evaluation, Subgroup, judge
from models.matrix import as_matrix
from models.rows import as_instant, instants, row_keys
from models.subgroups import subgroups_of
from models.training import fit, labels_of, persons_of
from models.use_case import UseCase

FOLD_COUNT = 5
HELD_OUT_SHARE = 0.2  # of time, the newest
Mask = npt.NDArray[np.bool_]


class Predicts(Protocol):
    """Whatever gives a risk for each row of a frame."""

    def predict(self, frame: pa.Table) -> Floats:
        """Return one probability per row."""


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version that scores today, with what it may fairly be asked.

    It was fitted on old rows: for those it answers with the predictions of its own evaluation (`held_out`), for rows
    whose outcome became known after `trained_at` with a new prediction; other rows are not compared.
    """

    version: int
    scorer: Predicts
    trained_at: datetime
    held_out: pa.Table  # as Evaluation.held_out


def evaluate(
    use_case: UseCase,
    frame: pa.Table,
    *,
    seed: int,
    champion: Champion | None = None,
    time_is_usable: bool = True,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Predict the held-out rows of a training frame, measure, and judge. Intervals resample persons."""
    start = _held_out_start(frame) if time_is_usable else None
    scored, unscored = _held_out(use_case, frame, start, seed)
    labels, risk = labels_of(scored), scored.column("probability").to_numpy()
    persons = persons_of(scored)
    figures = measure(labels, risk, persons, seed=seed, resamples=resamples) if len(labels) else None
    comparison = _compare(champion, scored, seed=seed, resamples=resamples) if champion else None
    gate, reasons = judge(use_case.gate, figures, comparison)
    return Evaluation(
        use_case=use_case.name,
        design=_design(start),
        held_out_from=start,
        unscored_row_count=unscored,
        figures=figures,
        subgroups=_subgroups(use_case, scored, seed=seed, resamples=resamples),
        champion=comparison,
        gate=gate,
        reasons=reasons,
        held_out=scored.select(["encounter_id", "prediction_time", "person_id", "label", "probability"]),
    )


def _held_out_start(frame: pa.Table) -> datetime:
    span = pc.min_max(frame.column("prediction_time")).as_py()
    start: datetime = span["max"] - (span["max"] - span["min"]) * HELD_OUT_SHARE
    return start


def _design(start: datetime | None) -> str:
    if start is None:
        return "Five folds by patient over all rows, since the dates of this source are shifted."
    return (
        f"Rows from {start:%Y-%m-%d %H:%M} UTC on (the last 20 % of time), five folds by patient, "
        "each predicted by a fit on earlier rows of other patients."
    )


def _held_out(use_case: UseCase, frame: pa.Table, start: datetime | None, seed: int) -> tuple[pa.Table, int]:
    """Return the held-out rows with their probability, and how many could not be predicted.

    A fold whose earlier rows of other patients hold no outcome, or nothing else, cannot be fitted.
    """
    labels, folds = labels_of(frame), person_folds(persons_of(frame), labels_of(frame), FOLD_COUNT, seed)
    is_held_out, is_earlier = _split(frame, start)
    risk = np.full(frame.num_rows, np.nan)

    def predict(fold: int) -> None:
        asked, known = is_held_out & (folds == fold), is_earlier & (folds != fold)
        if asked.any() and len(np.unique(labels[known])) == 2:
            model = fit(use_case, frame.filter(pa.array(known)), seed=seed, time_is_usable=start is not None)
            matrix = as_matrix(frame.filter(pa.array(asked)), use_case.feature_names)
            risk[asked] = model.predict_proba(matrix)[:, 1]

    with ThreadPoolExecutor(min(FOLD_COUNT, os.cpu_count() or 1)) as at_once:
        list(at_once.map(predict, range(FOLD_COUNT)))
    is_scored = is_held_out & ~np.isnan(risk)
    scored = frame.append_column("probability", pa.array(risk)).filter(pa.array(is_scored))
    return scored, int(is_held_out.sum() - is_scored.sum())


def _split(frame: pa.Table, start: datetime | None) -> tuple[Mask, Mask]:
    if start is None:
        every = np.ones(frame.num_rows, dtype=bool)
        return every, every
    is_held_out = instants(frame, "prediction_time") >= as_instant(start)
    return is_held_out, ~is_held_out


def _compare(champion: Champion, scored: pa.Table, *, seed: int, resamples: int) -> ChampionComparison:
    risk = champion_risk(champion, scored)
    is_fair = ~np.isnan(risk)
    fair = scored.filter(pa.array(is_fair))
    labels = labels_of(fair)
    difference = auroc_difference(
        labels, risk[is_fair], fair.column("probability").to_numpy(), persons_of(fair), seed=seed, resamples=resamples
    )
    return ChampionComparison(
        version=champion.version, rows=len(labels), outcomes=int(labels.sum()), difference=difference
    )


def champion_risk(champion: Champion, rows: pa.Table) -> Floats:
    """Return what the champion says of rows that it was not fitted on; NaN for rows it cannot fairly be asked."""
    earlier = champion.held_out
    said = dict(zip(row_keys(earlier), earlier.column("probability").to_pylist(), strict=True))
    risk = np.array([said.get(row, np.nan) for row in row_keys(rows)], dtype=np.float64)
    is_new = instants(rows, "label_known_at") > as_instant(champion.trained_at)
    if is_new.any():
        risk[is_new] = champion.scorer.predict(rows.filter(pa.array(is_new)))
    return risk


def _subgroups(use_case: UseCase, scored: pa.Table, *, seed: int, resamples: int) -> tuple[Subgroup, ...]:
    groups = subgroups_of(scored, use_case.subgroups)
    return tuple(
        _subgroup(name, scored.filter(pa.array(is_member)), use_case, seed, resamples) for name, is_member in groups
    )


def _subgroup(name: str, rows: pa.Table, use_case: UseCase, seed: int, resamples: int) -> Subgroup:
    labels, outcomes = labels_of(rows), int(labels_of(rows).sum())
    if outcomes < use_case.gate.min_subgroup_outcomes:
        return Subgroup(name=name, rows=len(labels), outcomes=outcomes, auroc=None, observed_expected=None)
    risk = rows.column("probability").to_numpy()
    shown = measure(labels, risk, persons_of(rows), seed=seed, resamples=resamples)
    return Subgroup(
        name=name,
        rows=len(labels),
        outcomes=outcomes,
        auroc=shown.auroc,
        observed_expected=shown.observed_expected,
    )
