"""The report that governance reads."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import select

from integrations.records import Records
from integrations.records.schema import report
from models.monitoring.findings import Finding
from models.monitoring.page import verdict_page
from models.monitoring.report import _drawn, _sample, report_html
from tests.models.monitoring.conftest import Watch, rows


def test_it_is_one_file_that_nobody_can_change_with_its_hash_in_records(
    watch: Watch, sqlite_records: Records, home: Path
) -> None:
    window = rows(400, seed=4, creatinine_times=3.0)
    nothing = pa.array(np.full(400, np.nan))
    window = window.set_column(window.column_names.index("is_female"), "is_female", nothing)
    result = watch(0, window, with_report=True)
    assert result.report
    path = home / "reports" / result.report
    with sqlite_records.read() as connection:
        (row,) = connection.execute(select(report)).all()
    assert (row.path, row.kind, row.sha256) == (path.name, "drift", hashlib.sha256(path.read_bytes()).hexdigest())
    assert path.name.endswith(f"{row.sha256[:12]}.html")
    assert path.stat().st_mode & 0o777 == 0o400
    page = path.read_text()
    assert "demo_ehr/" not in page
    assert "default-src 'none'" in page
    assert page.index("readmission_30d, version 3: drift report") < page.index('<div id="root_metric_')
    assert "creatinine last mg dl" in page
    assert "is female" not in page  # never measured now: there is nothing to draw
    assert ">breach</span>" in page


def test_those_that_moved_most_are_drawn(
    watch: Watch, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = rows(400, seed=4, creatinine_times=3.0)
    result = watch(0, window)
    assert "age years" in report_html(result, window, reference)
    monkeypatch.setattr("models.monitoring.report.MOST_PICTURES", 1)
    page = report_html(result, window, reference)
    assert "creatinine last mg dl" in page
    assert "age years" not in page


def test_without_any_row_our_part_still_stands(watch: Watch, reference: dict[str, Any]) -> None:
    empty = rows(0, seed=4)
    result = watch(0, empty)
    page = report_html(result, empty, reference)
    assert "Too few rows to judge the inputs." in page
    assert "not enough data" in page
    assert "<script" not in page


def test_what_stands_open_and_what_ingest_found_is_told_with_what_to_do(
    watch: Watch, reference: dict[str, Any]
) -> None:
    found = (Finding(feature="creatinine_last_mg_dl", reason="suspect_batch", row_count=31, share=0.254),)
    window = rows(400, seed=4, creatinine_times=3.0)
    watch(-1, window, findings=found)
    page = verdict_page(watch(0, window, findings=found), window, reference)
    assert "do not retrain for it" in page
    assert "Ask those who keep the feed." in page
    assert "<td>suspect batch</td><td>31</td><td>25.4%</td>" in page


def test_the_reference_is_drawn_as_it_was(reference: dict[str, Any]) -> None:
    part = reference["features"]["creatinine_last_mg_dl"]
    drawn = _drawn(part, 5000, np.random.default_rng(0))
    assert abs(np.isnan(drawn).mean() - part["missing_share"]) < 0.02
    assert abs(np.nanmedian(drawn) - 1.0) < 0.05


def test_pictures_are_of_a_sample_that_repeats_itself() -> None:
    matrix = np.arange(60_000.0).reshape(30_000, 2)
    sample = _sample(matrix, np.random.default_rng(0))
    assert sample.shape == (20_000, 2)
    assert len(np.unique(sample[:, 0])) == 20_000
    assert np.array_equal(sample, _sample(matrix, np.random.default_rng(0)))
