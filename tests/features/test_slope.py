"""A slope is the least squares one, and the same to the last bit in whatever order its results are read."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from features.definitions import view
from features.parquet_files import view_rows
from integrations.duck import connect
from integrations.snapshot import Feed
from models.cases import SITE, open_facts

AT = datetime(2024, 2, 15, 18, tzinfo=UTC)
SLOPE = "sodium_slope_7d_mmol_l_per_day"
SHUFFLES = 5
Draws = list[tuple[datetime, float]]


@pytest.fixture
def draws() -> Draws:
    chance = random.Random(7)
    minutes = chance.sample(range(1, 7 * 24 * 60), 300)
    return [(AT - timedelta(minutes=each), round(chance.uniform(110, 160), 3)) for each in minutes]


@pytest.fixture
def shuffled(draws: Draws, tmp_path: Path) -> Iterator[list[duckdb.DuckDBPyConnection]]:
    """The same results of one patient, read in five orders."""
    feeds = [Feed(source="ehr", site_id=SITE, time_zone="UTC", lateness=timedelta(hours=1))]
    opened = []
    for seed in range(SHUFFLES):
        rows = random.Random(seed).sample([_result(number, *draw) for number, draw in enumerate(draws)], len(draws))
        connection = connect(tmp_path / str(seed), threads=1 + seed % 2)
        facts = {"patient": [_fact(AT - timedelta(days=900))], "observation": rows}
        open_facts(connection, facts, feeds, tmp_path / str(seed))
        opened.append(connection)
    yield opened
    for connection in opened:
        connection.close()


def test_a_slope_is_the_least_squares_one(draws: Draws, shuffled: list[duckdb.DuckDBPyConnection]) -> None:
    days = [(at - AT) / timedelta(days=1) for at, _ in draws]
    expected = np.polynomial.Polynomial.fit(days, [value for _, value in draws], 1).convert().coef[1]
    assert _slope(shuffled[0]) == pytest.approx(expected, rel=1e-9)


def test_a_slope_is_the_same_to_the_bit_in_any_order(shuffled: list[duckdb.DuckDBPyConnection]) -> None:
    assert len({_slope(connection).hex() for connection in shuffled}) == 1


def test_a_slope_of_fractions_would_not_be(shuffled: list[duckdb.DuckDBPyConnection]) -> None:
    """The control: the database's own slope, whose last digits hang on the order."""
    sql = "select regr_slope(value_number, epoch(effective_at)) from observation"
    assert len({connection.execute(sql).fetchall()[0][0] for connection in shuffled}) > 1


def _slope(connection: duckdb.DuckDBPyConnection) -> float:
    spine = {"site_id": [SITE], "patient_id": ["ehr/p"], "encounter_id": ["ehr/e"]}
    table = pa.table({**spine, "prediction_time": pa.array([AT], pa.timestamp("us", "UTC"))})
    found: float = view_rows(connection, view("recent_labs"), table)[SLOPE].to_pylist()[0]
    return found


def _result(number: int, at: datetime, value: float) -> dict[str, object]:
    same = {"code": "2951-2", "status": "final", "is_extreme": False, "effective_at": at}
    return {**_fact(at), **same, "observation_id": f"ehr/o{number}", "value_number": value}


def _fact(at: datetime) -> dict[str, object]:
    head = {"source": "ehr", "site_id": SITE, "patient_id": "ehr/p", "available_at": at, "is_retracted": False}
    return {**head, "is_available_at_inferred": False, "extract_id": "x", "source_file": "x", "source_line": 1}
