"""What was stored on each of 30 nights is, byte for byte, what the full lake gives for those nights afterwards.

The facts of a generated hospital come into a real lake night by night, as they become available: late, corrected,
withdrawn, merged and parted ones among them. Each night its cohorts and features are computed from the lake of that
night; afterwards once more, from the last one.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.definitions import view, view_names
from features.parquet_files import view_rows
from features.spine import KEYS
from features.store import FeatureStore
from integrations.duck import connect
from integrations.lake import Lake
from models.catalog import use_case, use_case_names
from models.cohort import cohort, eligible
from tests.promises.compared import as_bytes, known_early, relations_of
from tests.promises.feeds import FEEDS
from tests.promises.histories import DAY, HOUR, Facts, Shape, Tables, as_tables, history

pytestmark = pytest.mark.xdist_group("thirty nights")  # they are lived once
SHAPE = Shape(seed=31, person_count=16, tick=HOUR, corrected=0.4, moved=0.0, hour_of_t=6, lately=30 * DAY)
NIGHTS = [SHAPE.at - (29 - number) * DAY for number in range(30)]
INSTANT = pa.timestamp("us", "UTC")
COHORT = (*KEYS, "excluded_reason", "horizon_starts_at")


@dataclass
class Lived:
    """30 nights as they were lived: what came in, who was predicted for and why not, and what was stored of them."""

    facts: Facts
    last: duckdb.DuckDBPyConnection  # the lake after the last night
    cohorts: dict[str, pa.Table]  # by use case, all nights one after the other
    spine: pa.Table
    store: FeatureStore


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("nights")
    facts = history(SHAPE)
    tables = as_tables(facts)
    lake, store = Lake(folder / "lake", bucket_count=1), FeatureStore(folder / "features")
    lake.create()
    known_until, cohorts, spines = None, {name: list[pa.Table]() for name in use_case_names()}, []
    for number, night in enumerate(NIGHTS, 1):
        take_in(lake, tables, known_until, night, folder)
        known_until = night
        with opened(lake, folder) as connection:
            for name, so_far in cohorts.items():
                so_far.append(rows_of_night(connection, name, night))
            spines.append(one_spine(connection, night, [so_far[-1] for so_far in cohorts.values()]))
            store.compute(connection, view_names(), spines[-1], name=f"night{number}", snapshot_id=number)
    last = opened(lake, folder)
    of_all_nights = {name: pa.concat_tables(so_far) for name, so_far in cohorts.items()}
    yield Lived(facts, last, of_all_nights, pa.concat_tables(spines), store)
    last.close()


@pytest.mark.parametrize("name", use_case_names())
def test_the_cohorts_of_30_nights_are_those_of_the_full_lake(name: str, lived: Lived) -> None:
    afterwards = cohort(lived.last, use_case(name), NIGHTS[-1])
    first = pa.scalar(NIGHTS[0] - DAY, afterwards["prediction_time"].type)
    afterwards = afterwards.filter(pc.greater(afterwards["prediction_time"], first)).select(COHORT)
    assert afterwards.num_rows > 0
    assert in_bytes(lived.cohorts[name]) == in_bytes(afterwards)


@pytest.mark.parametrize("name", view_names())
def test_features_stored_on_30_nights_are_those_of_the_full_lake(name: str, lived: Lived) -> None:
    references = [f"{name}:{feature.name}" for feature in view(name).features]
    stored = lived.store.read(references, lived.spine, lived.last)
    afterwards = view_rows(lived.last, view(name), lived.spine)
    assert in_bytes(stored.select(afterwards.column_names)) == in_bytes(afterwards)


@pytest.mark.parametrize("name", view_names())
def test_features_that_ignore_when_a_fact_became_available_are_others(name: str, lived: Lived) -> None:
    """The control: computed afterwards with facts known from when they were true, they differ."""
    honest = view(name)
    early = ", ".join(known_early(relation) for relation in relations_of(honest.sql))
    ignorant = dataclasses.replace(honest, sql=f"with {early}\nselect * from (\n{honest.sql}\n)")
    references = [f"{name}:{feature.name}" for feature in honest.features]
    stored = lived.store.read(references, lived.spine, lived.last)
    afterwards = view_rows(lived.last, ignorant, lived.spine)
    assert in_bytes(stored.select(afterwards.column_names)) != in_bytes(afterwards)


def test_many_rows_were_predicted_for_on_those_nights(lived: Lived) -> None:
    assert sum(rows.num_rows for rows in lived.cohorts.values()) > 100
    assert lived.spine.num_rows > 200


def test_late_corrected_and_withdrawn_results_came_in_on_those_nights(lived: Lived) -> None:
    told: dict[Any, list[Any]] = {}
    for row in lived.facts["observation"]:
        told.setdefault(row["observation_id"], []).append(row)
    versions = [row for rows in told.values() for row in rows if NIGHTS[0] < row["available_at"] <= NIGHTS[-1]]
    first_at = {key: min(row["available_at"] for row in rows) for key, rows in told.items()}
    late = sum(row["available_at"] - row["effective_at"] > DAY for row in versions)
    corrected = sum(row["available_at"] > first_at[row["observation_id"]] for row in versions)
    withdrawn = sum(row["is_retracted"] for row in versions)
    print(f"{len(versions)} versions in 30 nights: {late} late, {corrected} corrections, {withdrawn} withdrawals")
    assert min(late, corrected, withdrawn) > 50


def take_in(lake: Lake, tables: Tables, since: datetime | None, until: datetime, folder: Path) -> None:
    """Add what became available in (since, until] to the lake, one commit a table."""
    with connect(folder / "tmp", threads=1) as connection:
        for name, rows in tables.items():
            is_new = pc.less_equal(rows["available_at"], pa.scalar(until, INSTANT))
            if since:
                is_new = pc.and_(is_new, pc.greater(rows["available_at"], pa.scalar(since, INSTANT)))
            if pc.any(is_new).as_py():
                connection.register("rows", rows.filter(is_new))
                lake.write(connection, name, "from rows", extract_id=f"{name}{until:%Y%m%d}")
                connection.unregister("rows")


def opened(lake: Lake, folder: Path) -> duckdb.DuckDBPyConnection:
    connection = connect(folder / "tmp", threads=1)
    lake.open_snapshot(connection, lake.versions(), feeds=FEEDS)
    return connection


def rows_of_night(connection: duckdb.DuckDBPyConnection, name: str, night: datetime) -> pa.Table:
    """The cohort rows of the day that ends with the night."""
    rows = cohort(connection, use_case(name), night, since=night - DAY)
    return rows.select(COHORT)


def one_spine(connection: duckdb.DuckDBPyConnection, night: datetime, cohorts: Sequence[pa.Table]) -> pa.Table:
    """The eligible rows of all use cases, and every stay that is known, as of the night: each stay and time once."""
    stays = connection.sql(
        "select distinct site_id, patient_id, encounter_id, $night as prediction_time from encounter "
        "where available_at <= $night and $night < superseded_at",
        params={"night": night},
    ).to_arrow_table()
    rows = pa.concat_tables([stays, *(eligible(each).select(KEYS).cast(stays.schema) for each in cohorts)])
    return rows.group_by(list(KEYS)).aggregate([])


def in_bytes(rows: pa.Table) -> list[bytes]:
    """Each column of the rows, in the order of their keys."""
    ordered = rows.sort_by([("prediction_time", "ascending"), ("encounter_id", "ascending")])
    ordered = ordered.set_column(
        ordered.column_names.index("prediction_time"),
        "prediction_time",
        ordered["prediction_time"].cast(INSTANT),
    )
    return [as_bytes(ordered, name) for name in ordered.column_names]
