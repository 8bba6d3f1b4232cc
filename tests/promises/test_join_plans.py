"""Facts are found by whose they are: no plan may join what is only near in time.

The order of joins is DuckDB's choice, by estimates that differ a little from one opening of a lake to the next. Where
three relations are joined at once, and two of them share only a condition on time, it takes these two first now and
then: each row of one with each of the other, a hundred times the work. So such joins go one by one.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features.definitions import view, view_names
from features.held import held_features, held_outcomes, released_holds
from features.parquet_files import view_rows
from integrations.records import Records
from models.catalog import use_case, use_case_names
from models.cohort import cohort, labels
from tests.promises.compared import spine_of
from tests.promises.histories import HOUR, Shape, as_tables, history, open_tables

SHAPE = Shape(seed=7, person_count=9, tick=HOUR, corrected=0.4, moved=0.3, hour_of_t=12)
Join = tuple[frozenset[str], bool]  # its equalities, and whether it has other conditions
# A code or a source is looked up in a small table: nothing else of that table is asked.
LOOKED_UP = {"code = code", "code_system = code_system", "source = source", "site_id = site_id"}
Plan = dict[str, Any]


class Explaining:
    """A connection that keeps the plan of all it is asked, its joins in the order in which they are written."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.plans: list[Plan] = []
        connection.execute("set disabled_optimizers = 'join_order,join_elimination,statistics_propagation'")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def sql(self, text: str, params: Any = None) -> Any:
        """Explain it, then run it."""
        ((_, said),) = self.connection.execute(f"explain (format json) {text}", params).fetchall()
        self.plans += json.loads(said)
        return self.connection.sql(text, params=params)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Any]:
    connection = open_tables(as_tables(history(SHAPE)), tmp_path)
    yield Explaining(connection)
    connection.close()


@pytest.mark.parametrize("name", view_names())
def test_a_view_joins_nothing_that_is_only_near_in_time(name: str, lake: Any) -> None:
    view_rows(lake, view(name), spine_of(lake.connection, SHAPE.at))
    assert loose_joins(lake.plans) == []


@pytest.mark.parametrize("name", use_case_names())
def test_a_cohort_and_its_labels_join_nothing_that_is_only_near_in_time(name: str, lake: Any) -> None:
    rows = cohort(lake, use_case(name), SHAPE.at)
    assert lake.plans
    labels(lake, use_case(name), rows, SHAPE.at)
    assert loose_joins(lake.plans) == []


def test_holds_join_nothing_that_is_only_near_in_time(lake: Any, sqlite_records: Records) -> None:
    spine = spine_of(lake.connection, SHAPE.at)
    with sqlite_records.read() as records:
        held_features(records, lake, spine, view_names(), SHAPE.at)
        released_holds(records, lake, spine, view_names(), SHAPE.at)
        held_outcomes(records, lake, spine, ["2160-0"], timedelta(days=2), SHAPE.at)
    assert len(lake.plans) == 3
    assert loose_joins(lake.plans) == []


def loose_joins(plans: list[Plan]) -> list[list[Join]]:
    """Several joins at once, of which one has a condition on time, and which are not all by one key."""
    found = []
    for joins in (joins for plan in plans for joins in joined_at_once(plan)):
        kept = [(keys, is_timed) for keys, is_timed in joins if is_timed or not keys <= LOOKED_UP]
        if any(is_timed for _, is_timed in kept) and len({keys for keys, _ in kept}) > 1:
            found.append(kept)
    return found


def joined_at_once(plan: Plan) -> Iterator[list[Join]]:
    """The inner joins of which the optimiser chooses the order together."""
    joins, below = reordered(plan)
    if joins:
        yield joins
    for each in below:
        yield from joined_at_once(each)


def reordered(plan: Plan) -> tuple[list[Join], list[Plan]]:
    """The joins at this place of a plan, and what lies below them."""
    children = plan.get("children", [])
    about = plan.get("extra_info", {})
    if about.get("Join Type") == "INNER":
        found = about.get("Conditions", [])
        conditions = [found] if isinstance(found, str) else found
        keys = frozenset(each for each in conditions if " = " in each)
        joins = [(keys, len(keys) < len(conditions))]
    elif plan.get("name", "").strip() in ("PROJECTION", "FILTER"):
        joins = []
    else:
        return [], children
    below = []
    for child in children:
        more, under = reordered(child)
        joins, below = joins + more, below + under
    return joins, below
