"""The feature store, with a real Feast: what is written comes back, for its own prediction_time and nothing else."""

import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.definitions import VIEWS, view, view_folder
from features.parquet_files import view_rows
from features.spine import check_read_back
from features.store import FeatureStore
from integrations.changes import CHANGES
from integrations.errors import NotInOrder
from tests.features.two_stays import INSTANT, night, spine_of

FEATURES = ("patient_demographics:age_years", "encounter_history:in_stay_hours", "recent_labs:creatinine_last_mg_dl")
ALL_VIEWS = ("patient_demographics", "encounter_history", "recent_labs")


def nothing(since: int) -> pa.Table:
    """What came in since: nothing."""
    return CHANGES.empty_table()


def files_of(store: FeatureStore, name: str) -> list[str]:
    return sorted(path.name for path in view_folder(store.offline, view(name)).iterdir())


def test_rows_come_back_in_the_order_of_the_spine_with_its_other_columns(
    store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    spine = spine_of(("e2", 4), ("e1", 4), ("e1", 2), label=[1, 0, 0])
    assert store.compute(lake, ALL_VIEWS, spine, name="night", snapshot_id=1) == dict.fromkeys(ALL_VIEWS, 3)
    read = store.read(FEATURES, spine)
    assert read.column_names == [*spine.column_names, "age_years", "in_stay_hours", "creatinine_last_mg_dl"]
    assert read.select(spine.column_names) == spine
    assert read["age_years"].to_pylist() == [64.0, 74.0, 74.0]
    assert read["in_stay_hours"].to_pylist() == [60.0, 84.0, 36.0]
    assert read["creatinine_last_mg_dl"].to_pylist() == [None, 1.4, 1.0]
    assert read["age_years"].type == pa.float64()


def test_what_is_read_is_what_the_sql_says(store: FeatureStore, lake: duckdb.DuckDBPyConnection) -> None:
    spine = spine_of(("e1", 4), ("e1", 2), ("e2", 4))
    store.compute(lake, ["recent_labs"], spine, name="night", snapshot_id=1)
    names = [feature.name for feature in view("recent_labs").features]
    read = store.read([f"recent_labs:{name}" for name in names], spine)
    keys = [("encounter_id", "ascending"), ("prediction_time", "ascending")]
    by_hand = view_rows(lake, view("recent_labs"), spine).sort_by(keys)
    assert read.sort_by(keys).select(by_hand.column_names).to_pylist() == by_hand.to_pylist()


def test_an_own_connection_reads_what_a_given_one_reads(store: FeatureStore, lake: duckdb.DuckDBPyConnection) -> None:
    store.compute(lake, ALL_VIEWS, spine_of(("e1", 2), ("e2", 3)), name="night", snapshot_id=1)
    asked = spine_of(("e2", 3), ("e1", 2), label=[1, 0])
    assert store.read(FEATURES, asked, lake).equals(store.read(FEATURES, asked))
    assert store.read(FEATURES, asked.slice(0, 0), lake).equals(store.read(FEATURES, asked.slice(0, 0)))


def test_a_read_does_without_feast(store: FeatureStore, lake: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    store.compute(lake, ALL_VIEWS, spine_of(("e1", 2)), name="night", snapshot_id=1)
    pq.write_table(spine_of(("e1", 2)), tmp_path / "spine.parquet")
    script = f"""
import sys
from pathlib import Path
import pyarrow.parquet as pq
from features.store import FeatureStore
read = FeatureStore(Path({str(store.folder)!r})).read({FEATURES!r}, pq.read_table({str(tmp_path / "spine.parquet")!r}))
print(read.num_rows, sorted({{"feast", "ibis"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"


def test_files_of_other_times_are_not_read(store: FeatureStore, lake: duckdb.DuckDBPyConnection) -> None:
    for day in (2, 3, 4):
        store.compute(lake, ["recent_labs"], spine_of(("e1", day)), name=f"night-{day}", snapshot_id=1)
    for day in (2, 4):  # to open them would fail
        (path,) = view_folder(store.offline, view("recent_labs")).glob(f"*-night-{day}.parquet")
        path.write_bytes(b"spoilt")
    creatinine = ["recent_labs:creatinine_last_mg_dl"]
    assert store.read(creatinine, spine_of(("e1", 3)))["creatinine_last_mg_dl"].to_pylist() == [1.4]
    with pytest.raises(duckdb.Error):
        store.read(creatinine, spine_of(("e1", 3), ("e1", 4)))
    path.with_name("without-times.parquet").write_bytes(b"spoilt")
    with pytest.raises(duckdb.Error):
        store.read(creatinine, spine_of(("e1", 3)))


def test_a_read_through_feast_leaves_no_database_open(store: FeatureStore, lake: duckdb.DuckDBPyConnection) -> None:
    import ibis

    store.compute(lake, ALL_VIEWS, spine_of(("e1", 3)), name="night", snapshot_id=1)
    store.read_through_feast(FEATURES, spine_of(("e1", 3)))
    assert ibis.options.default_backend is None


def test_feast_does_not_rewrite_itself_at_each_start(store: FeatureStore, lake: duckdb.DuckDBPyConnection) -> None:
    import typeguard

    checked = typeguard.typechecked
    store.compute(lake, ALL_VIEWS, spine_of(("e1", 3)), name="night", snapshot_id=1)
    store.read_through_feast(FEATURES, spine_of(("e1", 3)))
    from feast import Entity

    code = Entity.__init__.__code__
    assert "check_argument_types" not in code.co_names + code.co_freevars
    assert typeguard.typechecked is checked


def test_a_night_that_was_not_computed_stops_the_read_and_is_not_filled_with_an_older_one(
    store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    store.compute(lake, ALL_VIEWS, spine_of(("e1", 2)), name="second", snapshot_id=1)
    for read in (store.read, store.read_through_feast):
        with pytest.raises(NotInOrder, match="1 of 2 rows of view patient_demographics are missing"):
            read(FEATURES, spine_of(("e1", 2), ("e1", 3)))


def test_a_row_that_says_it_is_of_another_time_stops_the_read(
    store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    spine = spine_of(("e1", 2))
    store.compute(lake, ["recent_labs"], spine, name="night", snapshot_id=1)
    (path,) = view_folder(store.offline, view("recent_labs")).glob("*-night.parquet")
    rows = pq.read_table(path)
    at = rows.column_names.index("feature_prediction_time")
    pq.write_table(rows.set_column(at, "feature_prediction_time", pa.array([night(1)], INSTANT)), path)
    for read in (store.read, store.read_through_feast):
        with pytest.raises(NotInOrder, match="of another prediction_time"):
            read(["recent_labs:creatinine_last_mg_dl"], spine)


def test_before_anything_is_computed_the_read_says_so(store: FeatureStore) -> None:
    with pytest.raises(NotInOrder, match="no rows of view patient_demographics at its present version"):
        store.read(FEATURES, spine_of(("e1", 2)))


def test_an_empty_spine_is_a_normal_day(store: FeatureStore, lake: duckdb.DuckDBPyConnection) -> None:
    nobody = spine_of(("e1", 2)).slice(0, 0)
    assert store.compute(lake, ALL_VIEWS, nobody, name="night", snapshot_id=1) == dict.fromkeys(ALL_VIEWS, 0)
    read = store.read(FEATURES, nobody)
    assert read.num_rows == 0
    assert read.schema.field("creatinine_last_mg_dl").type == pa.float64()


def test_computing_again_under_a_name_replaces_what_it_kept_and_nothing_else(
    store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    second, fourth = spine_of(("e1", 2)), spine_of(("e2", 4))
    store.compute(lake, ["recent_labs"], second, name="second", snapshot_id=1)
    store.compute(lake, ["recent_labs"], fourth, name="fourth", snapshot_id=1)
    store.compute(lake, ["recent_labs"], second, name="second", snapshot_id=1)
    assert files_of(store, "recent_labs") == [
        "20240102T120000Z-20240102T120000Z-ffffffffffffffff-second.parquet",
        "20240104T120000Z-20240104T120000Z-ffffffffffffffff-fourth.parquet",
    ]
    for rows, stale in ((second, 0), (fourth, 0), (spine_of(("e1", 9)), 1)):
        assert store.stale(lake, ["recent_labs"], rows, nothing)["recent_labs"].num_rows == stale


def test_what_other_buckets_keep_is_not_opened_and_what_somebody_left_there_is_computed_once_more(
    store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    creatinine = ["recent_labs:creatinine_last_mg_dl"]
    first, second = spine_of(("e1", 2)), spine_of(("e2", 2))

    def stale(rows: pa.Table, buckets: set[int] | None) -> int:
        return store.stale(lake, ["recent_labs"], rows, nothing, buckets=buckets)["recent_labs"].num_rows

    store.compute(lake, ["recent_labs"], first, name="first", snapshot_id=1, buckets={3, 5})
    store.compute(lake, ["recent_labs"], second, name="second", snapshot_id=1, buckets={6})
    [of_first, of_second] = files_of(store, "recent_labs")
    assert (of_first.split("-")[2], of_second.split("-")[2]) == (f"{2**3 + 2**5:016x}", f"{2**6:016x}")
    assert [stale(first, {5}), stale(first, {3, 4}), stale(first, None), stale(first, {6})] == [0, 0, 0, 1]
    folder = view_folder(store.offline, view("recent_labs", VIEWS))
    (folder / of_second).write_bytes(b"no Parquet")
    assert stale(first, {5}) == stale(first, {4 * 64 + 5}) == 0
    assert store.read(creatinine, first, lake, buckets={5}).num_rows == 1
    for buckets in ({4 * 64 + 6}, None):  # 262 has the place of 6, and may find what is of 6
        with pytest.raises(duckdb.InvalidInputException):
            stale(first, buckets)


@pytest.mark.parametrize("newer_is_first", [False, True])
def test_of_two_files_that_hold_a_stay_and_time_the_newer_snapshot_is_read(
    store: FeatureStore, lake: duckdb.DuckDBPyConnection, newer_is_first: bool
) -> None:
    creatinine = ["recent_labs:creatinine_last_mg_dl"]
    told = {1: spine_of(("e1", 2), ("e1", 4)), 2: spine_of(("e1", 4), ("e2", 4))}
    for snapshot_id in (2, 1) if newer_is_first else (1, 2):
        # an extract of history that came later says of the last creatinine: 2.2
        lake.execute(
            f"update observation set value_number = {1.4 if snapshot_id == 1 else 2.2} where effective_at > "
            "timestamptz '2024-01-02'"
        )
        name = f"{'ba'[snapshot_id - 1]}-of-{snapshot_id}"
        store.compute(lake, ["recent_labs"], told[snapshot_id], name=name, snapshot_id=snapshot_id)
    asked = spine_of(("e1", 2), ("e1", 4))
    assert store.read(creatinine, asked)["creatinine_last_mg_dl"].to_pylist() == [1.0, 2.2]
    assert store.read_through_feast(creatinine, asked).equals(store.read(creatinine, asked))
    store.materialize(night(4), ["recent_labs"])
    assert store.online(creatinine, ["ehr/000.e1"], as_of=night(4))["creatinine_last_mg_dl"].to_pylist() == [2.2]


def test_files_are_for_their_owner_only_in_microseconds_and_nothing_half_written_is_left(
    store: FeatureStore, lake: duckdb.DuckDBPyConnection
) -> None:
    store.compute(lake, ["recent_labs"], spine_of(("e1", 2)), name="night", snapshot_id=1)
    (path,) = view_folder(store.offline, view("recent_labs")).iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    rows = pq.read_table(path)
    for column in ("prediction_time", "feature_prediction_time", "created_at"):
        assert rows[column].type == INSTANT
        assert rows[column].to_pylist() == [night(2) + timedelta(microseconds=column == "created_at")]
    assert rows["patient_id"].to_pylist() == ["ehr/000.p1"]


def test_a_view_that_gives_other_rows_than_the_spine_leaves_the_folder_as_it_was(
    lake: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    views = tmp_path / "views"
    views.mkdir()
    sql = (VIEWS / "vital_signs.sql").read_text(encoding="utf-8")
    for name, tail in (("losing", "limit 1"), ("doubling", "")):
        if name == "doubling":
            sql = sql.replace("from numbered as s", "from (from numbered union all from numbered) as s").replace(
                "group by s.spine_row,", "group by random(), s.spine_row,"
            )
        (views / f"{name}.sql").write_text(f"{sql.rstrip()}\n{tail}\n", encoding="utf-8")
        store = FeatureStore(tmp_path / "features", views)
        with pytest.raises(NotInOrder, match="2 spine rows in"):
            store.compute(lake, [name], spine_of(("e1", 2), ("e2", 3)), name="night", snapshot_id=1)
        assert list(view_folder(store.offline, view(name, views)).iterdir()) == []


@pytest.mark.parametrize(
    ("spine", "message"),
    [
        (spine_of(("e1", 2)).drop_columns(["patient_id"]), "the spine has no patient_id"),
        (spine_of(("e1", 2), ("e1", 2)), "2 rows for 1 pairs"),
        (
            spine_of(("e1", 2)).set_column(1, "patient_id", pa.array([None], pa.string())),
            "the spine has rows without patient_id",
        ),
    ],
)
def test_a_spine_that_is_not_in_order_is_refused(
    store: FeatureStore, lake: duckdb.DuckDBPyConnection, spine: pa.Table, message: str
) -> None:
    with pytest.raises(NotInOrder, match=message):
        store.compute(lake, ["recent_labs"], spine, name="night", snapshot_id=1)


def test_a_changed_view_starts_anew_and_the_registry_follows(lake: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    views = tmp_path / "views"
    views.mkdir()
    path = views / "vital_signs.sql"
    path.write_bytes((VIEWS / "vital_signs.sql").read_bytes())
    spine = spine_of(("e1", 2))
    store = FeatureStore(tmp_path / "features", views)
    store.compute(lake, ["vital_signs"], spine, name="night", snapshot_id=1)
    assert store.read(["vital_signs:temperature_last_cel"], spine)["temperature_last_cel"].to_pylist() == [None]
    before = store.view_versions(["vital_signs"])
    store.read_through_feast(["vital_signs:temperature_last_cel"], spine)
    registry = (store.folder / "registry.db").read_bytes()
    store.read_through_feast(["vital_signs:temperature_last_cel"], spine)
    assert (store.folder / "registry.db").read_bytes() == registry
    path.write_text(path.read_text().replace("8310-5 temperature", "8310-5 body_temperature"), encoding="utf-8")
    assert store.view_versions(["vital_signs"]) != before
    with pytest.raises(NotInOrder, match="no rows of view vital_signs at its present version"):
        store.read(["vital_signs:body_temperature_last_cel"], spine)
    store.compute(lake, ["vital_signs"], spine, name="night", snapshot_id=1)
    assert store.read_through_feast(["vital_signs:body_temperature_last_cel"], spine).num_rows == 1
    assert stat.S_IMODE((store.folder / "registry.db").stat().st_mode) == 0o600


def test_a_read_that_loses_or_moves_a_row_is_stopped() -> None:
    spine = spine_of(("e1", 2), ("e2", 3))
    answer = pa.table({"spine_row": [0, 1], "v__feature_prediction_time": spine["prediction_time"]})
    check_read_back(answer, spine, ["v"])
    for lost_or_moved in (answer.slice(1), answer.take([1, 0])):
        with pytest.raises(NotInOrder, match="2 spine rows in"):
            check_read_back(lost_or_moved, spine, ["v"])
