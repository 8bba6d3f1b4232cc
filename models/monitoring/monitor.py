"""Watch one version of one use case: judge the newest window, note breaches, make the report, say what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from integrations.records import Records
from models.monitoring.breach import Window, store_verdicts, update_breaches
from models.monitoring.findings import Finding
from models.monitoring.report import write_report
from models.monitoring.result import MonitoringResult
from models.monitoring.verdict import judge_performance, judge_window
from models.rows import as_instant, instants
from models.use_case import UseCase


def monitor(
    records: Records,
    use_case: UseCase,
    *,
    version: int,
    window: pa.Table,
    reference: Mapping[str, Any],
    matured: pa.Table,
    findings: Sequence[Finding],
    as_of: datetime,
    reports: Path,
    run_id: str,
    with_report: bool,
    time_zone: tzinfo,
) -> MonitoringResult:
    """Judge the rows scored in the nights before `as_of`; figures and breaches go to records in one transaction.

    `window`: person_id (else patient_id), prediction_time, probability and the features as the model took them; rows
    outside the window are left out. `matured`: the same key, prediction_time, label, label_known_at and probability;
    rows whose label is open at `as_of` are left out. `run_id` is a row of `run` by now. `time_zone`: the hospital's, by
    whose date a night has one window.
    """
    its = Window(
        use_case=use_case.name,
        version=version,
        start=window_start(use_case, as_of),
        end=as_of,
        run_id=run_id,
        time_zone=time_zone,
    )
    rows, closed = _within(window, its), _closed(matured, as_of)
    verdicts = judge_window(rows, reference, use_case.monitoring)
    verdicts += judge_performance(closed, use_case.monitoring, use_case.gate)
    with records.begin() as connection:
        store_verdicts(connection, its, verdicts)
        breaches = update_breaches(connection, its, verdicts, findings, use_case.monitoring)
    result = MonitoringResult(
        window=its,
        row_count=rows.num_rows,
        verdicts=tuple(verdicts),
        findings=tuple(findings),
        breaches=tuple(breaches),
    )
    if not with_report:
        return result
    return replace(result, report=write_report(records, result, rows, reference, reports, created_at=as_of))


def window_start(use_case: UseCase, as_of: datetime) -> datetime:
    """Return when the window that ends at `as_of` begins."""
    return as_of - timedelta(days=use_case.monitoring.window_nights)


def outcomes_start(use_case: UseCase, as_of: datetime) -> datetime:
    """Return from when on rows are judged by what came of them."""
    return as_of - timedelta(days=use_case.monitoring.outcome_nights)


def _within(frame: pa.Table, window: Window) -> pa.Table:
    at = instants(frame, "prediction_time")
    return frame.filter(pa.array((at > as_instant(window.start)) & (at <= as_instant(window.end))))


def _closed(matured: pa.Table, as_of: datetime) -> pa.Table:
    is_known = matured.column("label").is_valid().to_numpy()
    known_at = instants(matured, "label_known_at")
    return matured.filter(pa.array(is_known & ~np.isnat(known_at) & (known_at <= as_instant(as_of))))
