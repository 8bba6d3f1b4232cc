"""Only what something new counts for is computed again, and what is kept is what computing everything would give."""

import random
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pytest

from features.definitions import view
from features.parquet_files import view_rows
from features.store import FeatureStore
from integrations.changes import changes
from integrations.duck import connect
from integrations.identity import bucket_of
from integrations.lake import Lake
from integrations.reading import WorkBuckets
from integrations.snapshot import Feed
from integrations.tables import TABLES
from models.cases import ARROW_TYPES

START, DAY = datetime(2024, 3, 1, tzinfo=UTC), timedelta(days=1)
FEEDS = [Feed(source="ehr", site_id="demo", time_zone="America/Chicago", lateness=DAY)]
KEYS = [("encounter_id", "ascending"), ("prediction_time", "ascending")]
LABS = "recent_labs"
VIEWS = ("patient_demographics", "encounter_history", "vital_signs", LABS)
NUMBER = count(1)
Part: TypeAlias = "tuple[int, ...] | None"  # buckets


class House:
    """A lake that grows by extracts, and the features that are kept of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lake, self.store = folder, Lake(folder / "lake", 4), FeatureStore(folder / "features")
        self.lake.create()
        self.snapshots = {0: self.lake.versions()}
        self.asked: list[int] = []  # the snapshots that were looked back to

    def take_in(self, **tables: list[dict[str, object]]) -> None:
        """One extract, whatever it says of when its facts became available."""
        with connect(self.folder / "tmp", threads=1) as connection:
            for name, rows in tables.items():
                columns = [column for column in TABLES[name].all_columns if column.name != "bucket"]
                schema = pa.schema([(column.name, ARROW_TYPES[column.kind]) for column in columns])
                connection.register("given", pa.Table.from_pylist([_row(row) for row in rows], schema=schema))
                self.lake.write(connection, name, "select * from given", extract_id=f"x{len(self.snapshots)}")
        self.snapshots[len(self.snapshots)] = self.lake.versions()

    def build(self, spine: pa.Table, views: tuple[str, ...] = (LABS,), part: Part = None) -> dict[str, int]:
        """Bring the features of a spine up to date; return how many rows of each view were computed."""
        newest, stale = max(self.snapshots), self._stale(spine, views, part)
        buckets = None if part is None else WorkBuckets(4, part)
        with connect(self.folder / "tmp", threads=1) as connection:
            self.lake.open_snapshot(connection, self.snapshots[newest], buckets=buckets, feeds=FEEDS)
            for name, rows in stale.items():
                if rows.num_rows:
                    self.store.compute(connection, [name], rows, name=f"{newest}", snapshot_id=newest, buckets=part)
        return {name: rows.num_rows for name, rows in stale.items()}

    def works_in(self, spine: pa.Table) -> list[int]:
        """The bucket in which the person of each row works by now."""
        with connect(self.folder / "tmp", threads=1) as connection:
            moved = self.lake.find_linked(connection, self.snapshots[max(self.snapshots)], 4).moved
        elsewhere = dict(zip(moved["patient_id"].to_pylist(), moved["work_bucket"].to_pylist(), strict=True))
        return [elsewhere.get(name, bucket_of(name, 4)) for name in spine["patient_id"].to_pylist()]

    def stale(self, spine: pa.Table) -> dict[str, int]:
        """How many rows would be computed."""
        return {name: rows.num_rows for name, rows in self._stale(spine, (LABS,)).items()}

    def _stale(self, spine: pa.Table, views: tuple[str, ...], part: Part = None) -> dict[str, pa.Table]:
        with connect(self.folder / "tmp", threads=1) as connection:
            return self.store.stale(connection, views, spine, partial(self._since, spine), buckets=part)

    def kept(self, name: str, spine: pa.Table, part: Part = None) -> pa.Table:
        features = [each.name for each in view(name).features]
        rows = self.store.read([f"{name}:{each}" for each in features], spine, buckets=part)
        return rows.sort_by(KEYS).select(["encounter_id", "prediction_time", *features])

    def computed(self, name: str, spine: pa.Table) -> pa.Table:
        with connect(self.folder / "tmp", threads=1) as connection:
            self.lake.open_snapshot(connection, self.snapshots[max(self.snapshots)], feeds=FEEDS)
            return view_rows(connection, view(name), spine).sort_by(KEYS)

    def _since(self, spine: pa.Table, since: int) -> pa.Table | None:
        self.asked.append(since)
        with connect(self.folder / "tmp", threads=1) as connection:
            later = {number: versions for number, versions in self.snapshots.items() if number >= since}
            return changes(connection, self.lake, later, list(TABLES))


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.take_in(patient=[_patient(name) for name in "abc"], encounter=[_stay(name) for name in "abc"])
    return made


def test_what_a_live_feed_brings_computes_new_rows_and_none_of_the_past(house: House) -> None:
    house.take_in(observation=[_result("a", 1, 1.0)])
    assert house.build(_spine(("a", 2), ("b", 2))) == {LABS: 2}
    house.take_in(observation=[_result("a", 3, 2.0), _result("b", 3, 2.0)])
    assert house.build(_spine(("a", 2), ("b", 2), ("a", 4))) == {LABS: 1}
    assert house.asked == [2]


def test_a_late_extract_of_the_past_computes_the_rows_it_counts_for(house: House) -> None:
    spine = _spine(("a", 2), ("a", 5), ("b", 5))
    house.build(spine)
    house.take_in(observation=[_result("a", 3, 2.0)])
    assert house.build(spine) == {LABS: 1}
    assert house.kept(LABS, spine).equals(house.computed(LABS, spine))
    assert house.build(spine) == {LABS: 0}


def test_a_merge_computes_the_rows_of_both_from_then_on(house: House) -> None:
    spine = _spine(("a", 2), ("a", 5), ("b", 5), ("c", 5))
    house.take_in(patient_link=[_link("a", 0, "1"), _link("b", 0, "2")], observation=[_result("b", 1, 3.0)])
    house.build(spine)
    house.take_in(patient_link=[_link("a", 3, "2")])
    assert house.build(spine) == {LABS: 2}
    assert house.kept(LABS, spine).equals(house.computed(LABS, spine))
    house.take_in(observation=[_result("b", 4, 4.0)])
    assert house.build(spine) == {LABS: 2}
    assert house.kept(LABS, spine).equals(house.computed(LABS, spine))


def test_a_view_that_keeps_nothing_computes_everything(house: House) -> None:
    spine = _spine(("a", 2), ("b", 2))
    house.build(spine)
    assert house.build(spine, (LABS, "vital_signs")) == {LABS: 0, "vital_signs": 2}


def test_a_commit_that_was_undone_has_brought_nothing(house: House) -> None:
    spine = _spine(("a", 5))
    house.build(spine)
    recorded = house.snapshots[max(house.snapshots)]
    house.take_in(observation=[_result("a", 3, 2.0)])
    del house.snapshots[max(house.snapshots)]  # its ingest died before it was recorded
    house.lake.restore_to(recorded)
    house.take_in(observation=[_result("b", 3, 2.0)])
    assert house.build(spine) == {LABS: 0}
    assert house.kept(LABS, spine).equals(house.computed(LABS, spine))


def test_files_that_were_only_put_together_have_brought_nothing(house: House) -> None:
    spine = _spine(("a", 5))
    house.take_in(observation=[_result("a", 2, 2.0)])
    house.take_in(observation=[_result("a", 3, 2.0)])
    house.build(spine)
    house.lake.compact()
    house.take_in(observation=[_result("b", 3, 2.0)])
    assert house.build(spine) == {LABS: 0}


@pytest.mark.parametrize("gone", ["_delta_log/00000000000000000001.json", "bucket=*/x2-*.parquet"])
def test_where_nobody_can_tell_what_came_everything_is_computed(house: House, gone: str) -> None:
    spine = _spine(("a", 5), ("b", 5))
    house.build(spine)
    house.take_in(observation=[_result("a", 3, 2.0)])
    (file,) = (house.lake.root / "observation").glob(gone)
    kept = file.rename(house.folder / "aside")
    stale = house.stale(spine)
    kept.rename(file)
    assert stale == {LABS: 2}


def test_an_identifier_that_turns_out_a_filler_computes_the_rows_of_all_who_share_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.identity.MOST_IDS_OF_A_PERSON", 2)
    spine = _spine(("a", 5), ("b", 5))
    house.take_in(patient_link=[_link("a", 0, "1"), _link("b", 0, "1")], observation=[_result("b", 1, 3.0)])
    house.build(spine)
    house.take_in(patient_link=[_link("c", 3, "1")])
    house.build(spine)
    assert house.kept(LABS, spine).equals(house.computed(LABS, spine))


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_came_when_what_is_kept_is_what_computing_everything_gives(tmp_path: Path, seed: int) -> None:
    chance, house = random.Random(seed), House(tmp_path)
    names = [f"p{number}" for number in range(12)]
    house.take_in(patient=[_patient(name) for name in names], encounter=[_stay(name) for name in names])
    asked: list[tuple[str, int]] = []
    computed = 0
    for day in range(2, 8):
        house.take_in(**{table: rows for table, rows in _some_facts(chance, names, day).items() if rows})
        asked += [(name, day) for name in chance.sample(names, 6)]
        computed += sum(house.build(_spine(*asked), VIEWS).values())
    spine = _spine(*asked)
    for name in VIEWS:
        assert house.kept(name, spine).equals(house.computed(name, spine)), name
    everything = len(VIEWS) * sum(range(6, 37, 6))
    assert len(VIEWS) * len(asked) < computed < everything


def test_who_works_in_another_part_by_now_has_what_computing_everything_gives(tmp_path: Path) -> None:
    """Each part opens its own files alone; persons are linked and parted again, and go from one part to another."""
    chance, house = random.Random(7), House(tmp_path)
    names = [f"p{number}" for number in range(8)]
    house.take_in(patient=[_patient(name) for name in names], encounter=[_stay(name) for name in names])
    spine = _spine(*((name, day) for name in names for day in (3, 6)))
    moved, places = 0, house.works_in(spine)
    for day in range(2, 9):
        facts = _some_facts(chance, names, day)
        withdrawn = {"is_retracted": True, "available_at": START + day * DAY + DAY / 4}
        facts["patient_link"] = [_link(chance.choice(names), day, chance.choice("xyz"))]
        facts["patient_link"] += [{**_link(chance.choice(names), day, each), **withdrawn} for each in "xyz"]
        house.take_in(**facts)
        before, places = places, house.works_in(spine)
        moved += sum(first != second for first, second in zip(before, places, strict=True))
        for part in ((0, 2), (1,), (3,)):
            mine = spine.filter(pa.array([place in part for place in places]))
            if mine.num_rows:
                house.build(mine, (LABS,), part)
                everything = house.computed(LABS, mine)
                assert house.kept(LABS, mine, part).equals(everything)
                assert house.kept(LABS, mine).equals(everything), "of all files the newest row stands"
    assert moved > 4


def _some_facts(chance: random.Random, names: list[str], day: int) -> dict[str, list[dict[str, object]]]:
    """What one extract brings: results of now and, rarely, of days ago that count from then on; rarely a link."""
    late = [_result(chance.choice(names), chance.randint(1, day), chance.random()) for _ in range(2)]
    live = [_result(chance.choice(names), day, chance.random()) for _ in range(8)]
    linked = (
        [_link(chance.choice(names), chance.randint(1, day), chance.choice("xyz"))] if chance.random() < 0.5 else []
    )
    return {"observation": live + late, "patient_link": linked}


def _spine(*rows: tuple[str, int]) -> pa.Table:
    """The stays of these patients at noon of these days."""
    times = pa.array([START + day * DAY + DAY / 2 for _, day in rows], pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "site_id": ["demo"] * len(rows),
            "patient_id": [f"ehr/{name}" for name, _ in rows],
            "encounter_id": [f"ehr/e-{name}" for name, _ in rows],
            "prediction_time": times,
        }
    )


def _row(fact: dict[str, object]) -> dict[str, object]:
    head = {"source": "ehr", "site_id": "demo", "is_available_at_inferred": True, "is_retracted": False}
    return {**head, "extract_id": "x", "source_file": "f", "source_line": 1, **fact}


def _patient(name: str) -> dict[str, object]:
    return {"patient_id": f"ehr/{name}", "birth_date": date(1950, 1, 1), "sex": "female", "available_at": START}


def _stay(name: str) -> dict[str, object]:
    stay = {"encounter_id": f"ehr/e-{name}", "class": "inpatient", "started_at": START, "available_at": START}
    return {"patient_id": f"ehr/{name}", **stay}


def _link(name: str, day: int, value: str) -> dict[str, object]:
    link = {"link_id": f"{name}|{value}", "system": "mrn", "value": value, "available_at": START + day * DAY}
    return {"patient_id": f"ehr/{name}", **link}


def _result(name: str, day: int, value: float) -> dict[str, object]:
    at = START + day * DAY
    same = {"code": "2160-0", "status": "final", "value_number": value, "effective_at": at, "available_at": at}
    return {"patient_id": f"ehr/{name}", "observation_id": f"ehr/o{next(NUMBER)}", **same}
