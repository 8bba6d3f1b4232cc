"""Features and scores do not depend on the order of rows, on threads, hash seed, time zone, language or a restart."""

import dataclasses
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from features.definitions import view, view_names
from features.parquet_files import view_rows
from tests.promises.compared import spine_of
from tests.promises.histories import HOUR, Shape, Tables, as_tables, history, open_tables
from tests.properties.everywhere import KEYS, MODELS, Rows, all_rows, fitted, hashes, matrix

SOAK = int(os.environ.get("ROUNDS_SOAK", "0"))  # the seed of its round
SHARES, SHUFFLES = (10, 50) if SOAK else (1, 42)
CHECKOUT = Path(__file__).resolve().parents[2]
# hash seed, time zone, threads of DuckDB, threads of OpenMP, language
PROCESSES = (
    ("0", "UTC", 1, "1", "C"),
    ("1", "America/Chicago", 2, "2", "C.UTF-8"),
    ("2", "Asia/Kathmandu", 4, "1", "POSIX"),
    ("3", "Pacific/Kiritimati", 8, "4", "de_DE.UTF-8"),
    ("4", "Europe/Berlin", 3, "2", "C"),
    ("5", "Australia/Lord_Howe", 2, "3", "tr_TR.UTF-8"),
    ("6", "America/St_Johns", 1, "8", "C.UTF-8"),
    ("random", "Pacific/Pago_Pago", 16, "1", "C"),
)
SHAPE = Shape(seed=42 + SOAK, person_count=9, tick=HOUR, corrected=0.4, moved=0.0, hour_of_t=12)
# What a view must not do: the sum of doubles depends on the order in which they are added.
SUM_OF_DOUBLES = """
select s.encounter_id, s.prediction_time, sum(o.value_number / 7) as sum_count
from spine as s
left join observation as o on o.site_id = s.site_id
group by all
"""


@dataclass(frozen=True)
class Hospital:
    """Facts in one order, and all that comes of them."""

    tables: Tables
    folder: Path
    spine: pa.Table
    rows: Rows


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    tables, folder = as_tables(history(SHAPE)), tmp_path_factory.mktemp("same")
    lake = open_tables(tables, folder)
    (folder / "at").write_text(SHAPE.at.isoformat())
    spine = spine_of(lake, SHAPE.at)
    yield Hospital(tables, folder, spine, all_rows(lake, SHAPE.at, spine))
    lake.close()


def test_eight_processes_give_the_same_features_and_scores(hospital: Hospital) -> None:
    told = [in_a_process(hospital.folder, *process) for process in PROCESSES]
    here = hashes(hospital.rows)
    assert len(told) == 8
    for process, answer in zip(PROCESSES, told, strict=True):
        assert {name for name, digest in here.items() if answer[name] != digest} == set(), process
    for name in MODELS:
        assert len({answer[f"scores.{name}"] for answer in told}) == 1, name


@pytest.mark.parametrize("share", range(SHARES))
def test_shuffled_facts_and_spines_give_the_same_features_and_scores(hospital: Hospital, share: int) -> None:
    chance, here = random.Random(f"{SHAPE.seed} {share}"), hashes(hospital.rows)
    model = fitted(matrix(hospital.rows))
    scores = model.predict_proba(matrix(hospital.rows))[:, 1]
    assert len(np.unique(scores)) > 5
    for number in range(SHUFFLES):
        lake, spine = shuffled(hospital, chance)
        rows = all_rows(lake, SHAPE.at, spine)
        lake.close()
        assert {name for name, digest in hashes(rows).items() if here[name] != digest} == set(), number
        order = list(range(len(scores)))
        chance.shuffle(order)
        assert model.predict_proba(matrix(rows)[order])[:, 1].tobytes() == scores[order].tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_fitted_twice_gives_the_same_scores_to_the_bit(hospital: Hospital, name: str) -> None:
    features = matrix(hospital.rows)
    first, second = (fitted(features, name).predict_proba(features) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_a_view_that_adds_doubles_in_any_order_is_caught(hospital: Hospital) -> None:
    """The control: the shuffles see a sum that depends on the order of the rows."""
    adding, chance = (
        dataclasses.replace(view(view_names()[0]), sql=SUM_OF_DOUBLES, reference_tables=()),
        random.Random(1),
    )
    sums = set()
    for _ in range(10):
        lake, spine = shuffled(hospital, chance)
        sums.add(str(hashes({"sum": view_rows(lake, adding, spine).sort_by(KEYS)})))
        lake.close()
    assert len(sums) > 1


def shuffled(hospital: Hospital, chance: random.Random) -> tuple[duckdb.DuckDBPyConnection, pa.Table]:
    """The same facts and the same spine in another order, opened anew; the database free to keep an order or not."""
    tables = {name: in_another_order(rows, chance) for name, rows in hospital.tables.items()}
    lake = open_tables(tables, hospital.folder / "shuffled", threads=chance.choice([1, 2]))
    lake.execute(f"set preserve_insertion_order = {chance.choice(['true', 'false'])}")
    lake.execute(f"pragma {chance.choice(['verify_parallelism', 'disable_verify_parallelism'])}")
    return lake, in_another_order(hospital.spine, chance)


def in_another_order(rows: pa.Table, chance: random.Random) -> pa.Table:
    order = list(range(rows.num_rows))
    chance.shuffle(order)
    return rows.take(pa.array(order, pa.int64()))


def in_a_process(folder: Path, hash_seed: str, zone: str, threads: int, omp: str, language: str) -> dict[str, str]:
    changes = {"PYTHONHASHSEED": hash_seed, "TZ": zone, "OMP_NUM_THREADS": omp, "LANG": language, "LC_ALL": language}
    command = [sys.executable, "-m", "tests.properties.everywhere", str(folder), str(threads)]
    said = subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **changes}, check=True, capture_output=True)
    answer: dict[str, str] = json.loads(said.stdout)
    return answer
