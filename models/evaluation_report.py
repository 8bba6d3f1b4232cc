"""The evaluation as one HTML page for those who approve: no network, no script, and never changed once written."""

from collections.abc import Iterator
from html import escape

import numpy as np

from models.calibration import Counts, Floats
from models.figures import Figure
from models.gate import Evaluation
from models.training import Candidate, labels_of
from models.use_case import UseCase

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c2530}"
    "table{border-collapse:collapse;margin:.6rem 0}th,td{border-bottom:1px solid #ccd3da;padding:.25rem .8rem .25rem 0;"
    "text-align:left;font-weight:normal;vertical-align:top}th{color:#51606e}.gate{font-size:1.3rem}svg{max-width:100%}"
)
SIZE, MARGIN, BINS = 340, 45, 10


def evaluation_report(use_case: UseCase, candidate: Candidate, evaluation: Evaluation) -> bytes:
    """Return the page as UTF-8. It holds counts and figures, and nothing of a single patient."""
    body = "\n".join(
        [
            f"<h1>{escape(use_case.name)}: evaluation of a candidate</h1>",
            f"<p>{escape(use_case.question)}</p>",
            f'<p class="gate">Gate: <strong>{evaluation.gate}</strong></p>',
            "<ul>" + "".join(f"<li>{escape(reason)}</li>" for reason in evaluation.reasons) + "</ul>",
            "<h2>How it was tried</h2>",
            f"<p>{escape(evaluation.design)} Held-out rows that could not be predicted: "
            f"{evaluation.unscored_row_count}. Intervals resample patients.</p>",
            "<h2>Figures</h2>",
            _table(_figure_rows(evaluation)),
            "<h2>Calibration</h2>",
            _calibration_plot(evaluation),
            "<h2>Subgroups</h2>",
            _subgroups(use_case, evaluation),
            "<h2>What the candidate was fitted on</h2>",
            _table(_candidate_rows(candidate)),
        ]
    )
    head = f'<meta charset="utf-8"><title>{escape(use_case.name)} evaluation</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'.encode()


def _figure_rows(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    figures = evaluation.figures
    if figures is None:
        yield "rows", "0"
        return
    yield "rows", f"{figures.rows} of {figures.persons} patients"
    yield "outcomes", str(figures.outcomes)
    yield "AUROC", str(figures.auroc)
    yield "calibration slope (1 is right)", str(figures.calibration_slope)
    yield "calibration intercept (0 is right)", str(figures.calibration_intercept)
    yield "observed / expected outcomes", str(figures.observed_expected)
    yield "Brier score", str(figures.brier)
    if evaluation.champion:
        difference = str(evaluation.champion.difference)
        yield f"champion version {evaluation.champion.version} minus candidate AUROC", difference


def _candidate_rows(candidate: Candidate) -> Iterator[tuple[str, str]]:
    yield "rows", f"{candidate.row_count} of {candidate.person_count} patients, {candidate.outcome_count} outcomes"
    yield "dropped, a feature was held", f"{candidate.held_row_count} rows"
    yield "prediction times", f"{candidate.first_prediction_time:%Y-%m-%d} to {candidate.last_prediction_time:%Y-%m-%d}"
    yield "seed", str(candidate.seed)
    yield "features", ", ".join(candidate.feature_names)


def _table(rows: Iterator[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _subgroups(use_case: UseCase, evaluation: Evaluation) -> str:
    few = f"fewer than {use_case.gate.min_subgroup_outcomes} outcomes"
    cells = "".join(
        f"<tr><td>{escape(group.name)}</td><td>{group.rows}</td><td>{group.outcomes}</td>"
        f"<td>{_or(group.auroc, few)}</td><td>{_or(group.observed_expected, few)}</td></tr>"
        for group in evaluation.subgroups
    )
    head = "<tr><th>group</th><th>rows</th><th>outcomes</th><th>AUROC</th><th>observed / expected</th></tr>"
    return f"<table>{head}{cells}</table>"


def _or(figure: Figure | None, otherwise: str) -> str:
    return escape(str(figure) if figure else otherwise)


def _calibration_plot(evaluation: Evaluation) -> str:
    """Draw predicted against observed risk by tenths of the rows, with 95 % Wilson intervals."""
    risk, labels = evaluation.held_out.column("probability").to_numpy(), labels_of(evaluation.held_out)
    if len(risk) < BINS:
        return "<p>There are too few rows to draw it.</p>"
    points = list(calibration_points(risk, labels))
    top = max(max(high for *_, high in points), max(predicted for predicted, *_ in points)) * 1.05
    scale = (SIZE - 2 * MARGIN) / top
    marks = "".join(_mark(MARGIN + x * scale, *(SIZE - MARGIN - y * scale for y in ys)) for x, *ys in points)
    low, high = MARGIN, SIZE - MARGIN
    return (
        f'<svg viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" role="img" aria-label="observed against predicted risk">'
        f'<path d="M{low} {low}V{high}H{high}" fill="none" stroke="#51606e"/>'
        f'<path d="M{low} {high}L{high} {low}" stroke="#ccd3da" stroke-dasharray="4"/>{marks}'
        f'<text x="{low}" y="{low - 8}" font-size="12">observed risk, up to {top:.2f}</text>'
        f'<text x="{low}" y="{high + 20}" font-size="12">predicted risk, up to {top:.2f}</text></svg>'
    )


def _mark(x: float, y: float, y_low: float, y_high: float) -> str:
    line = f'<path d="M{x:.1f} {y_low:.1f}V{y_high:.1f}" stroke="#3273a8"/>'
    return f'{line}<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#3273a8"/>'


def calibration_points(risk: Floats, labels: Counts) -> Iterator[tuple[float, float, float, float]]:
    """Yield (mean predicted, observed, lower, upper) of each tenth of the rows by risk."""
    for rows in np.array_split(np.argsort(risk, kind="stable"), BINS):
        count, observed, z = len(rows), float(labels[rows].mean()), 1.96
        centre = (observed + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z * np.sqrt(observed * (1 - observed) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
        yield float(risk[rows].mean()), observed, float(centre - half), float(centre + half)
