"""What scoring costs beside the bare estimator, and storing beside a bare executemany."""

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
from sqlalchemy import insert

from integrations.records import Records, open_records
from integrations.records import schema as s
from integrations.write_back.identifier import score_identifier
from models.evaluation import evaluate
from models.explanation import explain
from models.matrix import as_matrix
from models.readmission_30d.estimator import build_estimator
from models.registry import Registry
from models.score_records import Circumstances, write_scores
from models.scoring import ScoredRows, score_rows
from models.training import train
from models.use_case import UseCase
from tests.benchmarks.row import Row
from tests.models.made import INSTANT, NIGHT, holds, use_case

ROWS, COLUMNS, WRITTEN, EXPLAINED, PAIRS = 300_000, 30, 50_000, 10_000, 5


def rows() -> Iterator[Row]:
    """Yield the rows of this bench; ratios are medians of runs that alternate with their peer."""
    case = use_case(
        features=tuple(f"bench:feature_{number}" for number in range(COLUMNS)),
        required=(),
        subgroups=(),
        estimator=build_estimator,
    )
    frame = _frame(ROWS, case)
    with tempfile.TemporaryDirectory() as folder:
        records = open_records(f"sqlite:///{folder}/records.db")
        registry = Registry(Path(folder) / "mlflow")
        _register(case, frame.slice(0, 5_000), records, registry)
        yield _scoring(case, frame, records, registry)
        yield _explanations(case, frame, records, registry)
        model = registry.load(case.name, 1, records=records)
        yield _writing(score_rows(model, frame.slice(0, WRITTEN), case, holds()), Path(folder))
        records.close()


def _scoring(case: UseCase, frame: pa.Table, records: Records, registry: Registry) -> Row:
    estimator = registry.load(case.name, 1, records=records).estimator
    matrix = as_matrix(frame, case.feature_names)
    ours = lambda: score_rows(registry.load(case.name, 1, records=records), frame, case, holds())  # noqa: E731
    mine, bare = _paired(ours, lambda: estimator.predict_proba(matrix), time.process_time)
    return Row(
        what=f"{ROWS:,} x {COLUMNS} frame to scores / predict_proba",
        figure=median(a / b for a, b in zip(mine, bare, strict=True)),
        unit="x CPU time",
        bound=1.3,
        is_bound="at most",
        detail=f"{median(mine):.2f} s and {median(bare):.2f} s CPU, manifest check included",
    )


def _explanations(case: UseCase, frame: pa.Table, records: Records, registry: Registry) -> Row:
    model = registry.load(case.name, 1, records=records)
    explain(model, frame, [0])
    begin = time.process_time()
    explain(model, frame, range(EXPLAINED))
    spent = time.process_time() - begin
    return Row(what=f"explanations of {EXPLAINED:,} rows", figure=EXPLAINED / spent, unit="rows / CPU s")


def _writing(scored: ScoredRows, folder: Path) -> Row:
    """Live scores with their outbox rows through Rounds, and the very same rows by executemany into the same tables."""
    sample = _write(scored, folder)
    with sqlite3.connect(sample) as connection:
        kept = {name: connection.execute(f"select * from {name}").fetchall() for name in ("score", "outbox")}
    connection.close()
    mine, bare = _paired(
        lambda: _write(scored, folder), lambda: _bare(kept, folder), time.process_time, prepare=partial(_empty, folder)
    )
    return Row(
        what=f"{len(scored.band):,} scores and outbox rows / bare executemany",
        figure=median(b / a for a, b in zip(mine, bare, strict=True)),
        unit="x rows / CPU s",
        bound=0.7,
        detail=f"{median(mine):.2f} s and {median(bare):.2f} s CPU, both at synchronous=FULL",
    )


def _paired(
    ours: Callable[[], object],
    peer: Callable[[], object],
    clock: Callable[[], float],
    *,
    prepare: Callable[[], object] = list,
) -> tuple[list[float], list[float]]:
    mine, theirs = [], []
    for _ in range(PAIRS):
        for run, spent in ((ours, mine), (peer, theirs)):
            prepare()
            begin = clock()
            run()
            spent.append(clock() - begin)
    return mine, theirs


def _empty(folder: Path) -> None:
    """Lay an empty database: what is timed is only the writing."""
    for file in folder.glob("written.db*"):
        file.unlink()
    records = open_records(f"sqlite:///{folder}/written.db")
    with records.begin() as connection:
        connection.execute(insert(s.snapshot).values(snapshot_id=1, created_at=NIGHT, versions={}))
        connection.execute(
            insert(s.run).values(run_id="run", kind="score", as_of=NIGHT, started_at=NIGHT, status="running")
        )
    records.close()


def _write(scored: ScoredRows, folder: Path) -> Path:
    if not (folder / "written.db").exists():
        _empty(folder)
    records = open_records(f"sqlite:///{folder}/written.db")
    under = Circumstances(
        run_id="run", purpose="live", stage="live", view_versions={"bench": "0" * 12}, snapshot_id=1, scored_at=NIGHT
    )
    namespace = uuid4()
    with records.begin() as connection:
        write_scores(
            connection,
            scored,
            under,
            explanations={},
            identifier=lambda site, encounter, at: score_identifier(namespace, site, scored.use_case, encounter, at),
        )
    records.close()
    return folder / "written.db"


def _bare(kept: dict[str, list[tuple[Any, ...]]], folder: Path) -> None:
    with sqlite3.connect(folder / "written.db") as connection:
        connection.execute("pragma synchronous=full")
        for name, values in kept.items():
            connection.executemany(f"insert into {name} values ({', '.join('?' * len(values[0]))})", values)
    connection.close()


def _register(case: UseCase, frame: pa.Table, records: Records, registry: Registry) -> None:
    with records.begin() as connection:
        connection.execute(insert(s.snapshot).values(snapshot_id=1, created_at=NIGHT, versions={}))
    registry.register(
        case,
        train(case, frame, seed=1),
        evaluate(case, frame, seed=1, resamples=10),
        records=records,
        reference={},
        as_of=NIGHT,
        trained_by="bench",
        reports=registry.folder.parent / "reports",
        snapshot_id=1,
    )


def _frame(count: int, case: UseCase) -> pa.Table:
    random = np.random.default_rng(1)
    values = random.normal(size=(count, COLUMNS))
    label = random.random(count) < 1 / (1 + np.exp(2 - values[:, :5].sum(axis=1) * 0.5))
    values[random.random(values.shape) < 0.1] = np.nan
    at = [NIGHT - timedelta(minutes=int(minutes)) for minutes in random.integers(0, 900_000, count)]
    return pa.table(
        {
            "site_id": ["demo"] * count,
            "patient_id": [f"demo_ehr/p{number // 3}" for number in range(count)],
            "person_id": [f"demo_ehr/p{number // 3}" for number in range(count)],
            "encounter_id": [f"demo_ehr/e{number}" for number in range(count)],
            "prediction_time": pa.array(at, INSTANT),
            "horizon_starts_at": pa.nulls(count, INSTANT),
            "label": label.astype(np.int8),
            "label_known_at": pa.array(at, INSTANT),
            **{name: pa.array(values[:, column], from_pandas=True) for column, name in enumerate(case.feature_names)},
        }
    )
