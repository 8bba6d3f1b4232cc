"""The report for people: our verdict on top, pictures of a sample below. One file, never changed, readable offline."""

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from integrations.records import Records
from models.calibration import Floats
from models.kept_report import keep_report
from models.matrix import as_matrix
from models.monitoring.page import MOST_PICTURES, OFFLINE_ONLY, STYLE, verdict_page
from models.monitoring.reference import PREDICTION
from models.monitoring.result import MonitoringResult

SAMPLE_ROWS = 20_000  # Evidently takes 7 CPU seconds for 100,000 rows of 30 columns
SEED = 0


def write_report(
    records: Records,
    result: MonitoringResult,
    window: pa.Table,
    reference: Mapping[str, Any],
    folder: Path,
    *,
    created_at: datetime,
) -> str:
    """Write the report, note its sha256 in records, and return its file name, which holds part of that."""
    data = report_html(result, window, reference).encode()
    its = result.window
    with records.begin() as connection:
        return keep_report(
            connection, folder, data, kind="drift", use_case=its.use_case, version=its.version, created_at=created_at
        )


def report_html(result: MonitoringResult, window: pa.Table, reference: Mapping[str, Any]) -> str:
    """Return the page: our part stands without script; the pictures are Evidently's."""
    ours = verdict_page(result, window, reference)
    title = f"{result.window.use_case} version {result.window.version}: drift"
    offline = f'<meta http-equiv="Content-Security-Policy" content="{OFFLINE_ONLY}">'
    head = f"{offline}<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
    pictures = _pictures(window, reference, _most_moved_first(result))
    if pictures is None:
        return f"<!doctype html>\n<html lang=en><head><meta charset=utf-8>{head}</head><body>{ours}</body></html>\n"
    at_head, at_body = pictures.index("<head>") + len("<head>"), pictures.index("<body>") + len("<body>")
    return pictures[:at_head] + head + pictures[at_head:at_body] + ours + pictures[at_body:]


def _pictures(window: pa.Table, reference: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return Evidently's page on a sample of the window beside a sample drawn from the frozen percentiles.

    Only features and predictions go in, no ids; of `names` the first. Columns that one side never measured cannot be
    drawn.
    """
    parts = _drawable(window, reference, names)
    parts = {name: parts[name] for name in list(parts)[:MOST_PICTURES]}
    if not parts:
        return None
    from pandas import DataFrame

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # evidently touches private parts of numpy and divides by zero
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import ValueStats

        random = np.random.default_rng(SEED)
        titles = [name.replace("_", " ") for name in parts]  # so that long names wrap
        now = DataFrame(_sample(as_matrix(window, [_column(name) for name in parts]), random), columns=titles)
        then = DataFrame(
            {title: _drawn(part, len(now), random) for title, part in zip(titles, parts.values(), strict=True)}
        )
        columns = DataDefinition(numerical_columns=titles)
        # not its drift preset: that has a verdict of its own, by other bins and without what is not measured
        snapshot = Report([ValueStats(column=title) for title in titles]).run(
            Dataset.from_pandas(now, data_definition=columns), Dataset.from_pandas(then, data_definition=columns)
        )
        html: str = snapshot.get_html_str(as_iframe=False)
    return html


def _most_moved_first(result: MonitoringResult) -> list[str]:
    spread = [each for each in result.verdicts if each.metric in ("psi", "prediction_psi")]
    return [each.subject for each in sorted(spread, key=lambda each: -(each.figure or 0))]


def _drawable(window: pa.Table, reference: Mapping[str, Any], names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    every = reference["features"] | {PREDICTION: reference["prediction"]}
    parts = {name: every[name] for name in names}
    measured = {name: window.num_rows - np.isnan(as_matrix(window, [_column(name)])).sum() for name in parts}
    return {name: part for name, part in parts.items() if part["quantiles"] and measured[name] > 0}


def _column(name: str) -> str:
    return "probability" if name == PREDICTION else name


def _sample(matrix: Floats, random: np.random.Generator) -> Floats:
    if len(matrix) <= SAMPLE_ROWS:
        return matrix
    return matrix[random.choice(len(matrix), SAMPLE_ROWS, replace=False)]


def _drawn(part: Mapping[str, Any], rows: int, random: np.random.Generator) -> Floats:
    """Draw a column as the reference was: its percentiles, and as much not measured."""
    values: Floats = random.choice(part["quantiles"], rows)
    values[random.random(len(values)) < part["missing_share"]] = np.nan
    return values
