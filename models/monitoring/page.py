"""Our part of the drift report: what was judged, against what limit, what it means, what to do. Needs no script."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import pyarrow as pa

from models.calibration import Floats
from models.matrix import as_matrix
from models.monitoring.bins import codes_of, shares_of
from models.monitoring.findings import Finding
from models.monitoring.reference import PREDICTION
from models.monitoring.result import MonitoringResult
from models.monitoring.verdict import Verdict

OFFLINE_ONLY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; worker-src blob:"
)
BAR, GAP, HEIGHT = 11, 2, 34  # of the small pictures, in pixels
FIGURES = {
    "auroc": ("Ranking (AUROC)", "does a patient with the outcome get the higher risk? 0.5 is chance, 1 perfect"),
    "observed_expected": ("Observed over expected outcomes", "above 1: more happened than the risks said"),
    "brier": ("Brier score", "mean squared error of the risks; shown, not judged"),
}


def verdict_page(result: MonitoringResult, window: pa.Table, reference: Mapping[str, Any]) -> str:
    """Return our part as HTML. It holds shares and figures, and nothing of a single patient."""
    spreads = _spreads(window, reference)
    sections = (_head(result, reference), _open(result), _inputs(result, spreads), _outcomes(result), _findings(result))
    return f'<main class="rounds">{"".join(sections)}{HOW_TO_READ}<h2>Pictures</h2>{PICTURES}</main>'


def _spreads(window: pa.Table, reference: Mapping[str, Any]) -> dict[str, tuple[Floats, Sequence[float]]]:
    """Return each spread now and before, bin by bin."""
    parts = {name: (name, part) for name, part in reference["features"].items()}
    if reference["prediction"]:
        parts[PREDICTION] = ("probability", reference["prediction"])
    return {
        name: (shares_of(codes_of(as_matrix(window, [column])[:, 0], part["edges"]), part["edges"]), part["shares"])
        for name, (column, part) in parts.items()
    }


def _head(result: MonitoringResult, reference: Mapping[str, Any]) -> str:
    its, kinds = result.window, {each.kind for each in result.breaches}
    colour = "fault" if kinds else "watch" if any(each.verdict == "breach" for each in result.verdicts) else "calm"
    return (
        f"<h1>{escape(its.use_case)}, version {its.version}: drift report</h1>"
        f'<p class="{colour if result.is_judged or kinds else "watch"}">{escape(result.headline)}</p>'
        f"<p>{result.row_count:,} scored rows from {its.start:%d %B %Y %H:%M} to {its.end:%d %B %Y %H:%M} UTC, beside "
        f"the {reference['rows']:,} rows of {reference['persons']:,} patients on which this version was trained. "
        f"Run {escape(its.run_id)}.</p>"
    )


def _open(result: MonitoringResult) -> str:
    if not result.breaches:
        return ""
    rows = (
        (each.kind, each.subject, f"{each.opened_at:%Y‑%m‑%d}", each.sentence, TO_DO[each.kind])
        for each in result.breaches
    )
    return "<h2>What stands open</h2>" + _table(("Kind", "What", "Since", "Why", "What to do"), rows)


def _inputs(result: MonitoringResult, spreads: Mapping[str, tuple[Floats, Sequence[float]]]) -> str:
    spread = {each.subject: each for each in result.verdicts if each.metric in ("psi", "prediction_psi")}
    missing = {each.subject: each for each in result.verdicts if each.metric == "missing"}
    order = sorted(spread, key=lambda name: (name != PREDICTION, -(spread[name].figure or 0)))
    rows = "".join(_input_row(name, spread[name], missing.get(name), *spreads[name]) for name in order)
    heads = ("", "Spread over the bins", "PSI", "Limit", "Not measured", "Before", "Limit", "Verdict")
    return (
        "<h2>Predictions and inputs</h2>"
        '<p>Each bar is a bin of the training rows: <span class="then">▮</span> then, <span class="now">▮</span> now; '
        "the last one is “not measured”.</p>"
        f"<table><tr>{''.join(f'<th>{each}</th>' for each in heads)}</tr>{rows}</table>"
    )


def _input_row(name: str, spread: Verdict, missing: Verdict | None, now: Floats, then: Sequence[float]) -> str:
    words = [each.verdict for each in (spread, missing) if each]
    word = "breach" if "breach" in words else words[0]
    cells = [
        f"<b>{escape('predicted risk' if name == PREDICTION else name)}</b>",
        _bars(now, then),
        _marked(spread, _number(spread.figure)),
        _number(spread.threshold),
        _marked(missing, _percent(missing.figure)) if missing else "",
        f"{then[-1]:.0%}" if missing else "",
        _missing_limit(missing, then[-1]) if missing else "",
        f'<span class="{word.replace(" ", "-")}">{word}</span>',
    ]
    return "<tr>" + "".join(f"<td>{each}</td>" for each in cells) + "</tr>"


def _marked(verdict: Verdict, text: str) -> str:
    return f'<span class="breach">{text}</span>' if verdict.verdict == "breach" else text


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _missing_limit(missing: Verdict, before: float) -> str:
    """A share may rise up to the limit, or fall down to it."""
    if not missing.threshold or missing.figure is None:
        return "–"
    return f"{'to' if missing.figure >= before else 'from'} {missing.threshold:.0%}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _bars(now: Floats, then: Sequence[float]) -> str:
    """Draw two spreads side by side, bin by bin, on one scale."""
    top = max(*now.tolist(), *then, 0.01)
    width = len(then) * (BAR + GAP)
    drawn = []
    for at, (before, after) in enumerate(zip(then, now.tolist(), strict=True)):
        for part, (share, name) in enumerate(((before, "then"), (after, "now"))):
            tall = max(share / top * HEIGHT, 0.5)
            left = at * (BAR + GAP) + part * BAR / 2
            drawn.append(
                f'<rect class="{name}" x="{left:.1f}" y="{HEIGHT - tall:.1f}" width="{BAR / 2}" height="{tall:.1f}"/>'
            )
    return f'<svg width="{width}" height="{HEIGHT}" role="img" aria-label="then and now">{"".join(drawn)}</svg>'


def _outcomes(result: MonitoringResult) -> str:
    figures = [each for each in result.verdicts if each.metric in FIGURES]
    rows = (
        (*FIGURES[each.metric], _number(each.figure), _number(each.threshold), str(each.row_count), each.verdict)
        for each in figures
    )
    said = "".join(f"<li>{escape(text)}</li>" for text in dict.fromkeys(each.sentence for each in figures))
    heads = ("Figure", "What it asks", "Now", "Limit", "Rows", "Verdict")
    return f"<h2>What came of the scores</h2>{_table(heads, rows)}<ul>{said}</ul>"


def _findings(result: MonitoringResult) -> str:
    if not result.findings:
        return "<h2>What ingest has found</h2><p>Nothing was quarantined, or held by the watch, on their codes.</p>"
    rows = (
        (each.feature, each.reason.replace("_", " "), str(each.row_count), _share(each)) for each in result.findings
    )
    return "<h2>What ingest has found</h2>" + _table(("Input", "Why quarantined", "Rows", "Of its codes"), rows)


def _share(each: Finding) -> str:
    return "a finding of the watch" if each.is_of_watch else f"{each.share:.1%}"


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


TO_DO = {
    "drift": "Ask the wards what changed, and let train run. A new version needs its gate and two people.",
    "data fault": "Ask those who keep the feed. Do not retrain: the model would learn the fault.",
}

HOW_TO_READ = """
<h2>How to read this</h2>
<dl>
<dt>PSI, population stability index</dt>
<dd>How far the spread of an input has moved from the rows the model was trained on. 0 is no move. The limit is 0.20, or
what chance alone reaches once in a hundred windows of this size, whichever is higher.</dd>
<dt>Breach</dt>
<dd>Outside the limit in the newest window and in one more of the last three. One odd week is not a breach.</dd>
<dt>Drift or data fault</dt>
<dd>When the same input also lacks measurements it used to have, or its rows were quarantined for a value, unit or code,
the feed is at fault and nothing is retrained. Otherwise the patients or their care have changed.</dd>
<dt>What PSI does not see</dt>
<dd>The same inputs may come to mean another risk. Only outcomes show that, and only when their time has passed.</dd>
</dl>
"""
MOST_PICTURES = 12  # Evidently takes 0.2 CPU seconds for each; our own part draws every input
PICTURES = f"""
<p>At most {MOST_PICTURES}, most moved first, drawn by Evidently from at most 20,000 rows of the window (“current”)
beside as many drawn from the frozen percentiles of the training rows (“reference”). They show; the verdicts above
judge, on every row.</p>
"""

STYLE = """
.rounds { font: 15px/1.5 system-ui, sans-serif; color: #1c2530; max-width: 66rem; margin: 2rem auto; padding: 0 1rem }
.rounds h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .8rem }
.rounds h2 { font-size: 1.2rem; margin: 2rem 0 .5rem }
.rounds table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
.rounds th { color: #51606e; font-weight: normal; text-align: left; white-space: nowrap }
.rounds th, .rounds td { border-bottom: 1px solid #dde2e7; padding: .3rem .8rem .3rem 0; vertical-align: top }
.rounds td svg { display: block }
.rounds td:first-child { white-space: nowrap }
.rounds td:last-child { min-width: 6rem }
.rounds .calm, .rounds .watch, .rounds .fault { font-size: 1.1rem; padding: .7rem 1rem; border-left: 6px solid }
.rounds .calm { background: #e8f3ec; border-color: #2f7d4f }
.rounds .watch { background: #fff5df; border-color: #b97a00 }
.rounds .fault { background: #fbe9e7; border-color: #b3261e }
.rounds .breach { color: #b3261e; font-weight: 600 }
.rounds .not-enough-data { color: #51606e }
.rounds .then { fill: #a9b4bf; color: #a9b4bf }
.rounds .now { fill: #1f5fa8; color: #1f5fa8 }
.rounds dt { font-weight: 600 }
.rounds dd { margin: 0 0 .6rem }
"""
