"""The verdict on one window: every row of it, against the frozen reference. What a picture shows never changes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from models.calibration import Counts
from models.figures import Figure, measure
from models.matrix import as_matrix
from models.monitoring.bins import codes_of, psi, shares_of
from models.monitoring.reference import PREDICTION, by_chance, persons_of
from models.use_case import Monitoring, PromotionGate

Word = Literal["in order", "breach", "not enough data"]
MIN_MISSING_CHANGE = 0.1  # ten patients in a hundred more, or fewer, without the measurement
RESAMPLES, SEED = 200, 0
_PERFORMANCE = ("auroc", "observed_expected", "brier")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One figure of one window, what it was held against, and a sentence for people.

    metric: psi and missing of a feature; prediction_psi; auroc, observed_expected and brier of matured outcomes.
    """

    metric: str
    subject: str
    row_count: int
    figure: float | None
    threshold: float | None
    verdict: Word
    sentence: str


class _Named(Protocol):
    """A verdict, or its row in records."""

    @property
    def metric(self) -> str: ...
    @property
    def subject(self) -> str: ...


def concern(verdict: _Named) -> str:
    """Return what a breach of this figure is about: the feature, the predictions, or a figure of performance."""
    return verdict.metric if verdict.metric in _PERFORMANCE else verdict.subject


def judge_window(window: pa.Table, reference: Mapping[str, Any], rule: Monitoring) -> list[Verdict]:
    """Judge the inputs and the predictions of a window: has their spread moved beyond the rule, and beyond chance?

    The features are those of the reference, since it belongs to the version that scored.
    """
    verdicts = []
    features = list(reference["features"])
    for name, values in zip(features, as_matrix(window, features).T, strict=True):
        part = reference["features"][name]
        codes = codes_of(values, part["edges"])
        verdicts.append(_spread("psi", name, codes, part, reference["sizes"], rule))
        verdicts.append(_missing(name, codes, part, reference["sizes"]))
    if reference["prediction"]:
        part = reference["prediction"]
        codes = codes_of(as_matrix(window, ["probability"])[:, 0], part["edges"])
        verdicts.append(_spread("prediction_psi", PREDICTION, codes, part, reference["sizes"], rule))
    return verdicts if window.num_rows >= rule.min_rows else [_too_few(each, rule.min_rows) for each in verdicts]


def _spread(
    metric: str, subject: str, codes: Counts, part: Mapping[str, Any], sizes: Sequence[int], rule: Monitoring
) -> Verdict:
    figure = float(psi(shares_of(codes, part["edges"]), part["shares"]))
    threshold = max(rule.psi_threshold, by_chance(part, "psi_99", sizes, len(codes)))
    has_moved = figure > threshold
    what = "the predictions" if subject == PREDICTION else subject
    return Verdict(
        metric=metric,
        subject=subject,
        row_count=len(codes),
        figure=figure,
        threshold=threshold,
        verdict="breach" if has_moved else "in order",
        sentence=f"The spread of {what} {'has moved' if has_moved else 'is as it was'}: PSI {figure:.2f}, "
        f"limit {threshold:.2f}.",
    )


def _missing(subject: str, codes: Counts, part: Mapping[str, Any], sizes: Sequence[int]) -> Verdict:
    share, before = float(shares_of(codes, part["edges"])[-1]), part["missing_share"]
    limit = max(MIN_MISSING_CHANGE, by_chance(part, "missing_99", sizes, len(codes)))
    has_moved = abs(share - before) > limit
    return Verdict(
        metric="missing",
        subject=subject,
        row_count=len(codes),
        figure=share,
        threshold=min(before + limit, 1.0) if share >= before else max(before - limit, 0.0),
        verdict="breach" if has_moved else "in order",
        sentence=f"{subject} is not measured in {share:.0%} of rows, {before:.0%} in the reference; "
        f"a change of {limit:.0%} is {'exceeded' if has_moved else 'allowed'}.",
    )


def _too_few(verdict: Verdict, min_rows: int) -> Verdict:
    sentence = f"{verdict.subject}: {verdict.row_count} rows are too few to judge; {min_rows} are needed."
    figure = verdict.figure if verdict.row_count else None
    return replace(verdict, figure=figure, threshold=None, verdict="not enough data", sentence=sentence)


def judge_performance(matured: pa.Table, rule: Monitoring, gate: PromotionGate) -> list[Verdict]:
    """Judge scores against what came of them. `matured`: person_id (else patient_id), label, probability.

    Only rows whose whole window and lateness have closed belong here; the caller chooses how far back. A breach is a
    95 % interval that lies wholly on the wrong side of the gate's bar. The Brier score is shown, not judged.
    """
    labels = matured.column("label").to_numpy().astype(np.int64)
    outcomes = int(labels.sum())
    if len(labels) < rule.min_rows or outcomes < gate.min_subgroup_outcomes:
        sentence = (
            f"Outcomes: {len(labels)} scores with a closed window and {outcomes} outcomes are too few to judge; "
            f"{rule.min_rows} and {gate.min_subgroup_outcomes} are needed."
        )
        return [_performance(name, len(labels), None, None, "not enough data", sentence) for name in _PERFORMANCE]
    risk = as_matrix(matured, ["probability"])[:, 0]
    figures = measure(labels, risk, persons_of(matured), seed=SEED, resamples=RESAMPLES)
    return [
        _discrimination(figures.auroc, len(labels), gate.min_auroc_lower),
        _calibration(figures.observed_expected, len(labels), gate.observed_expected_range),
        _performance("brier", len(labels), figures.brier.value, None, "in order", f"Brier score {figures.brier}."),
    ]


def _performance(
    metric: str, rows: int, figure: float | None, threshold: float | None, verdict: Word, sentence: str
) -> Verdict:
    return Verdict(
        metric=metric,
        subject=PREDICTION,
        row_count=rows,
        figure=figure,
        threshold=threshold,
        verdict=verdict,
        sentence=sentence,
    )


def _discrimination(auroc: Figure, rows: int, bar: float) -> Verdict:
    is_below = auroc.upper is not None and auroc.upper < bar
    sentence = f"On matured outcomes AUROC {auroc}: {'below' if is_below else 'not shown to be below'} {bar:.2f}."
    return _performance("auroc", rows, auroc.value, bar, "breach" if is_below else "in order", sentence)


def _calibration(ratio: Figure, rows: int, bounds: tuple[float, float]) -> Verdict:
    low, high = bounds
    is_high = ratio.lower is not None and ratio.lower > high
    is_low = ratio.upper is not None and ratio.upper < low
    nearest = high if (ratio.value or 0) >= 1 else low
    said = (
        "more outcomes than the risks say" if is_high else "fewer outcomes than the risks say" if is_low else "in line"
    )
    sentence = f"Observed over expected outcomes {ratio}: {said} (allowed {low:g} to {high:g})."
    word: Word = "breach" if is_high or is_low else "in order"
    return _performance("observed_expected", rows, ratio.value, nearest, word, sentence)
