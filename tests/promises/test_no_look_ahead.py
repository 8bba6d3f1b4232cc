"""What was known at T decides: another future after T leaves cohort and features at T as they were, byte by byte.

Every feature view and every cohort owes it by existing, over generated histories of all canonical tables. And each is
spoilt, by rule: by every condition on availability taken out of a view's SQL, one at a time, and by every relation that
a view or cohort names in which facts count as known from when they were true. Each of those leaks must be caught.
"""

import dataclasses
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.definitions import View, view, view_names
from features.parquet_files import view_rows
from models.catalog import use_case, use_case_names
from models.cohort import COHORT_COLUMNS, cohort, run_sql
from tests.promises.clauses import mutants
from tests.promises.compared import differing, known_early, relations_of, spine_of
from tests.promises.histories import HOUR, MINUTE, Facts, Shape, history, open_history, with_another_future

IS_SOAK = "ROUNDS_SOAK" in os.environ
EXAMPLES = 300 if IS_SOAK else 5
SHAPES = st.builds(
    Shape,
    seed=st.integers(0, 2**32 - 1),
    person_count=st.integers(12, 30),
    tick=st.sampled_from([timedelta(seconds=1), 10 * MINUTE, HOUR, 6 * HOUR]),
    corrected=st.sampled_from([0.1, 0.3, 0.6]),
    moved=st.sampled_from([0.1, 0.4, 0.5]),
    hour_of_t=st.sampled_from([0, 6, 12, 18]),
)
# Where leaks are planted: one hospital after the other until each is caught, most in the first.
PLANTED_ON = [
    Shape(seed=seed, person_count=40, tick=tick, corrected=0.5, moved=0.5, hour_of_t=hour)
    for seed, tick, hour in zip(range(5, 17), (10 * MINUTE, HOUR, 6 * HOUR) * 4, (18, 6, 0, 12) * 3, strict=True)
]
LATER = timedelta(days=40)


@dataclasses.dataclass(frozen=True)
class Futures:
    """One past up to T under two futures, and every stay that is known at T, asked at T and at the cohorts' times."""

    at: datetime
    opened: tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]
    spine: pa.Table

    def differ(self, each: View) -> list[str]:
        """The columns of a view that are not the same, byte for byte, under both futures; the spine's order is not."""
        keys = [("encounter_id", "ascending"), ("prediction_time", "ascending")]
        turned = self.spine.take(pa.array(range(self.spine.num_rows - 1, -1, -1)))
        spines = zip(self.opened, (self.spine, turned), strict=True)
        return differing(*(view_rows(lake, each, spine).sort_by(keys) for lake, spine in spines))


def futures_of(shape: Shape, folder: Path) -> Futures:
    facts = history(shape)
    return opened_futures(shape.at, (facts, with_another_future(facts, shape)), folder)


def opened_futures(at: datetime, both: Sequence[Facts], folder: Path) -> Futures:
    first, second = (open_history(facts, folder / str(number)) for number, facts in enumerate(both))
    return Futures(at=at, opened=(first, second), spine=spine_of(first, at))


@dataclasses.dataclass(frozen=True)
class PlantedOn:
    """The hospitals in which planted leaks are looked for, each opened when the ones before were not enough."""

    folder: Path
    opened: list[Futures] = dataclasses.field(default_factory=list)

    def __iter__(self) -> Iterator[Futures]:
        for number, shape in enumerate(PLANTED_ON):
            if number == len(self.opened):
                self.opened.append(futures_of(shape, self.folder / str(number)))
            yield self.opened[number]


@pytest.fixture(scope="module")
def planted_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantedOn]:
    planted = PlantedOn(tmp_path_factory.mktemp("planted"))
    yield planted
    for futures in planted.opened:
        close(futures)


@settings(max_examples=EXAMPLES, derandomize=not IS_SOAK)
@given(shape=SHAPES)
@example(shape=PLANTED_ON[0])
def test_no_view_and_no_cohort_knows_what_came_later(shape: Shape) -> None:
    with tempfile.TemporaryDirectory() as folder:
        futures = futures_of(shape, Path(folder))
        assert futures.spine.num_rows > 10
        assert {name: found for name in view_names() if (found := futures.differ(view(name)))} == {}
        assert {name: found for name in use_case_names() if (found := cohort_differs(name, futures))} == {}
        close(futures)


@pytest.mark.parametrize("name", view_names())
def test_a_view_without_one_of_its_conditions_on_availability_is_caught(name: str, planted_on: PlantedOn) -> None:
    honest = view(name)
    spoilt = [each for each in mutants(honest.sql) if re.search(r"\bavailable_at <= ", each.clause)]
    assert len(spoilt) > 1  # who the person is, and at least one table
    unnoticed = [
        f"{name}.sql line {each.line}: {each.clause}"
        for each in spoilt
        if not is_caught(dataclasses.replace(honest, sql=each.sql), planted_on)
    ]
    assert unnoticed == []


@pytest.mark.parametrize("name", view_names())
def test_a_view_that_takes_a_fact_for_known_when_it_was_true_is_caught(name: str, planted_on: PlantedOn) -> None:
    honest = view(name)
    named = relations_of(honest.sql)
    assert "same_person" in named
    spoilt = {
        relation: dataclasses.replace(honest, sql=f"with {known_early(relation)}\nselect * from (\n{honest.sql}\n)")
        for relation in named
    }
    assert [relation for relation, each in spoilt.items() if not is_caught(each, planted_on)] == []


@pytest.mark.parametrize("name", use_case_names())
def test_a_cohort_that_takes_a_fact_for_known_when_it_was_true_is_caught(name: str, planted_on: PlantedOn) -> None:
    sql = use_case(name).cohort_sql
    unnoticed = [
        relation
        for relation in relations_of(sql)
        if not any(
            differing(
                *(
                    run_sql(lake, sql, COHORT_COLUMNS, name, futures.at, relations=[known_early(relation)])
                    for lake in futures.opened
                )
            )
            for futures in planted_on
        )
    ]
    assert unnoticed == []


def cohort_differs(name: str, futures: Futures) -> list[str]:
    """The columns of a cohort at T that differ, asked at T and asked again later; only what lapsed may look ahead."""
    case, at = use_case(name), futures.at
    first, second = (cohort(lake, case, at) for lake in futures.opened)
    assert first.num_rows > 0
    found = differing(first, second)
    for lake in futures.opened:
        again = cohort(lake, case, at + LATER)
        again = again.filter(pc.less_equal(again["prediction_time"], pa.scalar(at, again["prediction_time"].type)))
        found += [f"{column}, asked later" for column in differing(*map(without_lapsed, (first, again)))]
    return found


def without_lapsed(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["lapsed_reason"])


def is_caught(each: View, planted_on: PlantedOn) -> bool:
    return any(futures.differ(each) for futures in planted_on)


def close(futures: Futures) -> None:
    for lake in futures.opened:
        lake.close()
