"""Who is due, what came of them, and when the SQL of a use case is not in order."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from integrations.duck import connect
from integrations.errors import NotInOrder
from integrations.snapshot import Feed
from models.cases import open_facts
from models.catalog import use_case
from models.cohort import cohort, due, eligible, labelled, labels
from models.use_case import UseCase
from tests.models.cohort_rows import AS_OF, READMISSION, Lake, at, keys_of, opened, rows_of, told


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Lake]:
    """A snapshot without facts."""
    connection = connect(tmp_path / "tmp", threads=1)
    feed = Feed(source="ehr", site_id="demo", time_zone="UTC", lateness=timedelta(hours=24))
    open_facts(connection, {}, [feed], tmp_path)
    yield connection
    connection.close()


# --- due --------------------------------------------------------------------------------------------------------------


def test_the_newest_row_of_each_stay_is_due_live_and_older_ones_are_backfill(empty: Lake) -> None:
    rows = rows_of(("a", "2024-05-31 12:00", None), ("a", "2024-05-31 18:00", None), ("b", "2024-05-30 12:00", None))
    found = due(empty, rows, READMISSION, keys_of(), AS_OF)
    assert told(found.live) == [("ehr/b", "30 12:00"), ("ehr/a", "31 18:00")]
    assert told(found.backfill) == [("ehr/a", "31 12:00")]
    assert found.live.schema == rows.schema


def test_a_row_older_than_max_age_is_backfill_and_one_of_exactly_that_age_is_live(empty: Lake) -> None:
    rows = rows_of(("a", "2024-05-29 00:00", None), ("b", "2024-05-28 23:59", None))
    found = due(empty, rows, READMISSION, keys_of(), AS_OF)
    assert told(found.live) == [("ehr/a", "29 00:00")]
    assert told(found.backfill) == [("ehr/b", "28 23:59")]


def test_what_has_a_score_is_not_due_and_its_older_row_does_not_become_live(empty: Lake) -> None:
    rows = rows_of(("a", "2024-05-31 12:00", None), ("a", "2024-05-31 18:00", None))
    found = due(empty, rows, READMISSION, keys_of(("a", "2024-05-31 18:00")), AS_OF)
    assert found.live.num_rows == 0
    assert told(found.backfill) == [("ehr/a", "31 12:00")]


def test_a_silent_look_at_the_past_keeps_no_new_row_from_its_round(empty: Lake) -> None:
    rows = rows_of(("a", "2024-05-31 12:00", None), ("a", "2024-05-31 18:00", None))
    scored = keys_of(("a", "2024-05-31 12:00"), ("a", "2024-05-31 18:00"), is_by_round=False)
    found = due(empty, rows, READMISSION, scored, AS_OF)
    assert told(found.live) == [("ehr/a", "31 18:00")]
    assert found.backfill.num_rows == 0


def test_a_row_that_has_lapsed_by_now_is_excluded_live_and_backfilled_as_it_was(empty: Lake) -> None:
    rows = rows_of(("a", "2024-05-31 12:00", None), ("b", "2024-05-31 18:00", "died"), lapsed="withdrawn")
    older = rows_of(("c", "2024-04-30 12:00", None), lapsed="died_since")
    found = due(empty, pa.concat_tables([rows, older]), READMISSION, keys_of(), AS_OF)
    assert found.live["excluded_reason"].to_pylist() == ["withdrawn", "died"]
    assert told(found.backfill) == [("ehr/c", "30 12:00")]


def test_an_excluded_row_is_counted_live_and_never_backfilled(empty: Lake) -> None:
    rows = rows_of(("a", "2024-05-31 12:00", "died"), ("b", "2024-04-30 12:00", "died"))
    found = due(empty, rows, READMISSION, keys_of(), AS_OF)
    assert found.live["excluded_reason"].to_pylist() == ["died"]
    assert found.backfill.num_rows == 0
    assert eligible(found.live).num_rows == 0


def test_an_empty_cohort_is_a_normal_day(empty: Lake) -> None:
    rows = cohort(empty, READMISSION, AS_OF)
    assert rows.num_rows == 0
    assert labelled(empty, READMISSION, rows, AS_OF).reasons == {}
    assert due(empty, rows, READMISSION, keys_of(), AS_OF).live.num_rows == 0


# --- labels -----------------------------------------------------------------------------------------------------------

STAYS: list[dict[str, object]] = [
    {
        "id": "e1",
        "patient": "p1",
        "started_at": "2024-01-01",
        "ended_at": "2024-01-05",
        "discharge_disposition": "home",
    },
    {
        "id": "e2",
        "patient": "a1",
        "started_at": "2024-01-09",
        "ended_at": "2024-01-12",
        "discharge_disposition": "home",
    },
    {
        "id": "e3",
        "patient": "p3",
        "started_at": "2024-05-20",
        "ended_at": "2024-05-25",
        "discharge_disposition": "home",
    },
    {
        "id": "e4",
        "patient": "p3",
        "started_at": "2024-02-01",
        "ended_at": "2024-02-05",
        "discharge_disposition": "died",
    },
]
LINKS: list[dict[str, object]] = [
    {"id": "l1", "patient": "p1", "system": "mrn", "value": "1", "available_at": "2024-03-01"},
    {"id": "l2", "patient": "a1", "system": "mrn", "value": "1", "available_at": "2024-03-01"},
]


def test_only_closed_windows_have_a_label_and_every_eligible_row_has_a_reason(tmp_path: Path) -> None:
    lake = opened(
        tmp_path, {"patient": [{"id": "p1"}, {"id": "a1"}, {"id": "p3"}], "encounter": STAYS, "patient_link": LINKS}
    )
    rows = cohort(lake, READMISSION, AS_OF)
    known = labelled(lake, READMISSION, rows, AS_OF)
    assert known.reasons == {"not_readmitted": 1, "readmitted": 1, "window_open": 1}
    assert told(known.rows) == [("ehr/000.e1", "05 00:00"), ("ehr/000.e2", "12 00:00")]
    assert known.rows["label"].to_pylist() == [1, 0]
    assert known.rows["label"].type == pa.int8()


def test_two_numbers_of_one_person_share_a_person_id_once_they_are_linked(tmp_path: Path) -> None:
    lake = opened(
        tmp_path, {"patient": [{"id": "p1"}, {"id": "a1"}, {"id": "p3"}], "encounter": STAYS, "patient_link": LINKS}
    )
    rows = cohort(lake, READMISSION, AS_OF)
    assert labelled(lake, READMISSION, rows, AS_OF).rows["person_id"].to_pylist() == ["ehr/000.a1", "ehr/000.a1"]
    before = at("2024-02-20 00:00")
    earlier = labelled(lake, READMISSION, cohort(lake, READMISSION, before), before).rows
    assert earlier["person_id"].to_pylist() == ["ehr/000.p1", "ehr/000.a1"]


@pytest.mark.parametrize("moved_to", [2000, 2150])
def test_on_a_feed_whose_dates_are_moved_every_window_has_closed_and_nothing_is_too_old(
    tmp_path: Path, moved_to: int
) -> None:
    connection = connect(tmp_path / "tmp", threads=1)
    day = timedelta(hours=24)
    feeds = [
        Feed(source="ehr", site_id="demo", time_zone="UTC", lateness=day),
        Feed(source="old", site_id="old", time_zone="UTC", lateness=day, is_date_shifted=True),
    ]
    facts: dict[str, list[dict[str, object]]] = {"patient": [], "encounter": []}
    for source, year in (("ehr", 2024), ("old", moved_to)):
        head = {"source": source, "site_id": "demo", "patient_id": f"{source}/p", "is_retracted": False}
        tail = {"is_available_at_inferred": True, "extract_id": "x", "source_file": "f", "source_line": 1}
        born = {"birth_date": datetime(year - 60, 1, 1).date(), "available_at": datetime(year - 1, 1, 1, tzinfo=UTC)}
        facts["patient"].append({**head, **tail, **born})
        ended_at = datetime(year, 5, 20, tzinfo=UTC)
        stay = {"encounter_id": f"{source}/e", "class": "inpatient", "started_at": ended_at - day, "ended_at": ended_at}
        facts["encounter"].append({**head, **tail, **stay, "discharge_disposition": "home", "available_at": ended_at})
    open_facts(connection, facts, feeds, tmp_path)
    rows = cohort(connection, READMISSION, AS_OF)
    found = labels(connection, READMISSION, rows, AS_OF)
    assert dict(zip(found["encounter_id"].to_pylist(), found["label_reason"].to_pylist(), strict=True)) == {
        "ehr/e": "window_open",
        "old/e": "not_readmitted",
    }
    assert cohort(connection, READMISSION, AS_OF, since=AS_OF - day)["encounter_id"].to_pylist() == ["old/e"]


def test_an_open_stay_of_a_feed_whose_dates_are_moved_has_rounds_for_as_long_as_it_is_measured(tmp_path: Path) -> None:
    """Today lies after all of its dates, so nothing else would end them."""
    connection = connect(tmp_path / "tmp", threads=1)
    begun = datetime(2150, 5, 20, tzinfo=UTC)
    known = {"source": "old", "site_id": "old", "patient_id": "old/p", "available_at": begun, "is_retracted": False}
    tail = {"is_available_at_inferred": True, "extract_id": "x", "source_file": "f", "source_line": 1}
    creatinine = {"observation_id": "old/o", "code": "2160-0", "value_number": 1.0, "effective_at": begun}
    facts: dict[str, list[dict[str, object]]] = {
        "patient": [{**known, **tail}],
        "encounter": [{**known, **tail, "encounter_id": "old/e", "class": "inpatient", "started_at": begun}],
        "observation": [{**known, **tail, **creatinine}],
    }
    feed = Feed(source="old", site_id="old", time_zone="UTC", lateness=timedelta(), is_date_shifted=True)
    open_facts(connection, facts, [feed], tmp_path)
    rows = cohort(connection, use_case("aki_48h"), AS_OF)
    assert rows["prediction_time"].to_pylist() == [begun + number * timedelta(hours=6) for number in range(8 * 4)]
    assert rows["excluded_reason"].to_pylist() == [None] * 28 + ["no_recent_creatinine"] * 4


# --- what is not in order ---------------------------------------------------------------------------------------------

ONE_ROW = (
    "select 'demo' as site_id, 'ehr/p' as patient_id, 'ehr/e' as encounter_id, {time} as prediction_time, "
    "null::varchar as excluded_reason, null::varchar as lapsed_reason, null::timestamptz as horizon_starts_at "
    "from feed where $as_of is not null"
)
NOON = "timestamptz '2024-05-01 12:00:00'"


def broken(folder: Path, cohort_sql: str, label_sql: str = "") -> UseCase:
    (folder / "cohort.sql").write_text(cohort_sql)
    (folder / "label.sql").write_text(label_sql)
    return dataclasses.replace(READMISSION, folder=folder)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select 1 as prediction_time, 2 as encounter_id, $as_of as t", "columns are"),
        (f"{ONE_ROW.format(time=NOON)} union all {ONE_ROW.format(time=NOON)}", "2 rows for 1 pairs"),
        (ONE_ROW.format(time="timestamptz '2024-06-01 00:00:01'"), "1 rows lie after as_of"),
    ],
)
def test_a_cohort_with_other_columns_double_rows_or_rows_of_the_future_is_refused(
    empty: Lake, tmp_path: Path, sql: str, message: str
) -> None:
    with pytest.raises(NotInOrder, match=message):
        cohort(empty, broken(tmp_path, sql), AS_OF)


def test_a_label_that_loses_a_row_is_refused(empty: Lake, tmp_path: Path) -> None:
    nothing = (
        "select encounter_id, prediction_time, 1::tinyint as label, $as_of as label_known_at, 'x' as label_reason, "
        "null::timestamptz as event_at from cohort where false"
    )
    case = broken(tmp_path, ONE_ROW.format(time=NOON), nothing)
    with pytest.raises(NotInOrder, match="1 eligible rows in, 0 labels out"):
        labels(empty, case, cohort(empty, case, AS_OF), AS_OF)


def test_without_a_feed_nobody_can_be_found(tmp_path: Path) -> None:
    connection = connect(tmp_path / "tmp", threads=1)
    open_facts(connection, {}, [], tmp_path)
    with pytest.raises(NotInOrder, match="no feed is open"):
        cohort(connection, READMISSION, AS_OF)
