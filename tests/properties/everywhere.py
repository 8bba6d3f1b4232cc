"""All features of a folder of facts, and the scores of a model fitted on them, as hashes: one process of several.

`python -m tests.properties.everywhere FOLDER THREADS` prints them as JSON.
"""

import hashlib
import json
import sys
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from features.definitions import view, view_names
from features.parquet_files import view_rows
from models.calibrated import Calibrated
from models.catalog import use_case, use_case_names
from models.choice import ChosenByCrossValidation
from models.cohort import cohort
from models.estimators import CalibratedGradientBoosting
from models.linear import CalibratedLinear
from models.mean import CalibratedMean
from tests.promises.compared import as_bytes, spine_of
from tests.promises.histories import open_files

KEYS = [("encounter_id", "ascending"), ("prediction_time", "ascending")]
Rows = dict[str, pa.Table]


def main(folder: Path, threads: int) -> None:
    """Open the facts as a process of its own, with so many threads, and print the hash of all that comes of them."""
    files = {path.parents[1].name: [str(path)] for path in sorted(folder.glob("*/bucket=0/*.parquet"))}
    lake = open_files(files, folder / f"tmp{threads}", threads=threads)
    lake.execute("pragma verify_parallelism")  # few rows are shared out among the threads as well
    at = datetime.fromisoformat((folder / "at").read_text())
    rows = all_rows(lake, at, spine_of(lake, at))
    scored = matrix(rows)
    scores = {name: fitted(scored, name).predict_proba(scored)[:, 1] for name in MODELS}
    sys.stdout.write(json.dumps(hashes({**rows, "scores": pa.table(scores)}), sort_keys=True))


def all_rows(lake: duckdb.DuckDBPyConnection, at: datetime, spine: pa.Table) -> Rows:
    """Every cohort and every view, in the order of their keys."""
    found = {name: cohort(lake, use_case(name), at) for name in use_case_names()}
    found |= {name: view_rows(lake, view(name), spine) for name in view_names()}
    return {name: rows.sort_by(KEYS) for name, rows in found.items()}


def hashes(rows: Rows) -> dict[str, str]:
    """The sha256 of each column."""
    return {
        f"{name}.{column}": hashlib.sha256(as_bytes(table, column)).hexdigest()
        for name, table in rows.items()
        for column in table.column_names
    }


def matrix(rows: Rows) -> Any:
    """The features of all views side by side, null as NaN."""
    columns = [column for name in view_names() for column in rows[name].columns[2:]]
    return np.column_stack([column.to_numpy().astype(np.float64) for column in columns])


def fitted(features: Any, name: str = "trees") -> Any:
    """A small model of an outcome that each row's features decide, whatever process reads them."""
    labels = [zlib.crc32(row.tobytes()) % 3 == 0 for row in np.nan_to_num(features[:, :12])]
    return MODELS[name]().fit(features, np.array(labels, np.int64))


def _trees() -> Calibrated:
    return CalibratedGradientBoosting(
        seed=3, tree_count=15, min_leaf_rows=8, fold_count=3, calibration_person_count=1_000
    )


def _lines() -> Calibrated:
    return CalibratedLinear(seed=3, fold_count=3, calibration_person_count=1_000)


MODELS = {
    "trees": _trees,
    "lines": _lines,
    "mean": lambda: CalibratedMean([_trees(), _lines()], seed=3, fold_count=3, calibration_person_count=1_000),
    "choice": lambda: ChosenByCrossValidation({"trees": _trees(), "lines": _lines()}, seed=3, fold_count=3),
}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
