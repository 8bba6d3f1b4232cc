"""What was known at T decides: another future after T leaves cohort and features at T as they were, byte by byte.

Every feature view and every cohort owes it by existing, over generated histories of all canonical tables, told live,
loaded as history, and of a feed whose dates are moved; and so does what is held. Each is spoilt, by rule: by every
condition on availability taken out of a view's SQL, one at a time, and by every relation that a view or cohort names in
which facts count as known from when they were true; and the holds, one by one. Each of those leaks must be caught.
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
from sqlalchemy import Engine

from features.definitions import View, view, view_names
from features.held import HOLDS
from features.parquet_files import view_rows
from integrations.watch.finding import MISSING, WRONG
from models.catalog import use_case, use_case_names
from models.cohort import COHORT_COLUMNS, cohort, run_sql
from tests.promises.clauses import mutants
from tests.promises.compared import differing, known_early, relations_of, spine_of, until
from tests.promises.feeds import SHIFTED
from tests.promises.histories import (
    HOUR,
    MINUTE,
    Facts,
    Shape,
    history,
    open_history,
    with_another_future,
)
from tests.promises.set_aside import (
    FROM_BEFORE,
    LIVE,
    OF_THE_PAST,
    Holds,
    Rows,
    holds,
    holds_differ,
    of_reasons,
    open_set_aside,
    set_aside,
    with_other_holds,
)

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
    loaded=st.sampled_from([0.2, 0.4]),
    shifted=st.sampled_from([0.2, 0.4]),
)
# Where leaks are planted: one hospital after the other until each is caught, most in the first.
PLANTED_ON = [
    Shape(seed=seed, person_count=40, tick=tick, corrected=0.5, moved=0.5, hour_of_t=hour, loaded=0.15, shifted=0.15)
    for seed, tick, hour in [
        *zip(range(5, 17), (10 * MINUTE, HOUR, 6 * HOUR) * 4, (18, 6, 0, 12) * 3, strict=True),
        (21, 10 * MINUTE, 18),  # a stay in intensive care is told of another number before T, which is linked after T
    ]
]
LATER = timedelta(days=40)
HOLDS_THAT_LEAK = [
    ("and m.opened_at <= s.prediction_time", ""),
    ("and (m.released_at is null or m.released_at > s.prediction_time)", "and m.released_at is null"),
    ("and p.available_at <= s.prediction_time", ""),
    ("and s.prediction_time < p.superseded_at", "and p.superseded_at = timestamptz 'infinity'"),
    ("and q.known_from <= n.prediction_time", ""),
    ("and (q.released_at is null or q.released_at > n.prediction_time)", "and q.released_at is null"),
]


@dataclasses.dataclass(frozen=True)
class Futures:
    """One past up to T under two futures, and every stay that is known at T, asked at T and at the cohorts' times."""

    at: datetime
    opened: tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]
    spine: pa.Table
    records: tuple[Engine, Engine]

    def holds(self, as_of: datetime) -> tuple[Holds, Holds]:
        first, second = (
            holds(records, lake, self.spine, as_of) for records, lake in zip(self.records, self.opened, strict=True)
        )
        return first, second

    def holds_differ(self) -> list[str]:
        return holds_differ(self.holds(self.at), self.holds(self.at + LATER))

    def differ(self, each: View) -> list[str]:
        """The columns of a view that are not the same, byte for byte, under both futures; the spine's order is not."""
        keys = [("encounter_id", "ascending"), ("prediction_time", "ascending")]
        turned = self.spine.take(pa.array(range(self.spine.num_rows - 1, -1, -1)))
        spines = zip(self.opened, (self.spine, turned), strict=True)
        return differing(*(view_rows(lake, each, spine).sort_by(keys) for lake, spine in spines))


def futures_of(shape: Shape, folder: Path) -> Futures:
    facts = history(shape)
    other = with_another_future(facts, shape)
    aside = set_aside(facts, shape)
    return opened_futures(shape.at, (facts, other), (aside, with_other_holds(aside, other, shape)), folder)


def opened_futures(at: datetime, both: Sequence[Facts], aside: Sequence[Rows], folder: Path) -> Futures:
    first, second = (open_history(facts, folder / str(number)) for number, facts in enumerate(both))
    records, of_second = map(open_set_aside, aside)
    return Futures(at=at, opened=(first, second), spine=spine_of(first, at), records=(records, of_second))


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
        assert futures.holds_differ() == []
        close(futures)


def test_the_histories_hold_what_the_promise_is_about(planted_on: PlantedOn) -> None:
    """Stays of each kind of feed are asked about; the past is known in part; there are holds of every reason."""
    futures = next(iter(planted_on))
    lake, records = futures.opened[0], futures.records[0]
    feeds = {name.partition("/")[0] for name in futures.spine["encounter_id"].to_pylist()}
    assert feeds == {"ehr", "lis", SHIFTED.source}
    assert futures.spine.filter(pc.less(futures.spine["prediction_time"], pa.scalar(futures.at))).num_rows > 5
    rows_of = {name: until(futures.at, cohort(lake, use_case(name), futures.at)).num_rows for name in use_case_names()}
    assert min(rows_of.values()) > 0, rows_of  # a small random history may have none of some use case
    of_the_past = "select count(*) from {} where is_available_at_inferred and available_at {} $at"
    for table in ("encounter", "observation"):
        for side in ("<=", ">"):
            [(count,)] = lake.execute(of_the_past.format(table, side), {"at": futures.at}).fetchall()
            assert count > 20, (table, side)
    now, later = (holds(records, lake, futures.spine, at) for at in (futures.at, futures.at + LATER))
    reasons = set(now["held_features"]["reason"].to_pylist())
    assert all(reasons & set(kinds) for kinds in ([LIVE], [OF_THE_PAST], WRONG, MISSING)), reasons
    assert now["released_holds"].num_rows > 0
    held_for = now["held_features"]["encounter_id"].to_pylist()
    assert any(stay.startswith(f"{SHIFTED.source}/") for stay in held_for)
    since = [of_reasons(each["held_features"], FROM_BEFORE).num_rows for each in (now, later)]
    assert since[0] < since[1]  # history that was loaded later holds from its collection on


@pytest.mark.parametrize(("honest", "leak"), HOLDS_THAT_LEAK)
def test_a_hold_that_knows_what_came_later_is_caught(
    honest: str, leak: str, planted_on: PlantedOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HOLDS.count(honest) == 1
    monkeypatch.setattr("features.held.HOLDS", HOLDS.replace(honest, leak))
    assert any(futures.holds_differ() for futures in planted_on)


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
                    told_by_our_clock(
                        run_sql(lake, sql, COHORT_COLUMNS, name, futures.at, relations=[known_early(relation)])
                    )
                    for lake in futures.opened
                )
            )
            for futures in planted_on
        )
    ]
    assert unnoticed == []


@pytest.mark.parametrize("name", use_case_names())
@pytest.mark.parametrize(
    "leak",
    [
        "select * from ({}) semi join stay_now using (encounter_id, patient_id)",
        "select c.* replace (case when n.encounter_id is null then 'gone' else excluded_reason end as excluded_reason) "
        "from ({}) as c left join stay_now as n using (encounter_id, patient_id)",
    ],
)
def test_a_cohort_that_chooses_or_excludes_its_rows_by_what_is_known_now_is_caught(
    name: str, leak: str, planted_on: PlantedOn
) -> None:
    chosen = leak.format(use_case(name).cohort_sql)
    caught = False
    for futures in planted_on:
        for lake in futures.opened:
            now, later = (
                told_by_our_clock(until(futures.at, run_sql(lake, chosen, COHORT_COLUMNS, name, as_of)))
                for as_of in (futures.at, futures.at + LATER)
            )
            caught = caught or bool(differing(without_lapsed(now), without_lapsed(later)))
        if caught:
            break
    assert caught


def cohort_differs(name: str, futures: Futures) -> list[str]:
    """The columns of a cohort up to T that differ, asked at T and again later; only what lapsed may look ahead.

    Of a feed whose dates are moved there is no asking at T: what lapsed is known of it from the first.
    """
    case, at = use_case(name), futures.at
    first, second = (until(at, cohort(lake, case, at)) for lake in futures.opened)
    found = differing(without_lapsed(first), without_lapsed(second))
    found += differing(told_by_our_clock(first), told_by_our_clock(second))
    for lake in futures.opened:
        again = until(at, cohort(lake, case, at + LATER))
        found += [f"{column}, asked later" for column in differing(*map(without_lapsed, (first, again)))]
    return found


def told_by_our_clock(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.not_equal(rows["site_id"], SHIFTED.site_id))


def without_lapsed(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["lapsed_reason"])


def is_caught(each: View, planted_on: PlantedOn) -> bool:
    return any(futures.differ(each) for futures in planted_on)


def close(futures: Futures) -> None:
    for lake, records in zip(futures.opened, futures.records, strict=True):
        lake.close()
        records.dispose()
