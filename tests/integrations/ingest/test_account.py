"""Nothing vanishes: twice changes nothing, a dry run writes nothing, a crash loses nothing, accounts balance."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from integrations.duck import connect
from integrations.errors import NotInOrder, Refused
from integrations.ingest import tables_report
from integrations.ingest.scratch import scratch
from integrations.lake import Lake
from integrations.records import Records
from integrations.records.schema import account, extract, snapshot
from tests.integrations.ingest.conftest import (
    FIRST_NIGHT,
    MakeWard,
    Ward,
    blood_pressure,
    encounter,
    open_home,
    patient,
    result,
)


def everything(ward: Ward) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that has any, and what is reported beside it."""
    found = {
        table: ward.rows(f"select * from {table} order by all") for table in ("patient", "encounter", "observation")
    }
    reported = [tuple(row.items()) for row in tables_report(ward.records, ward.places)]
    return found | {"report": reported}


def busy_night(ward: Ward) -> Path:
    """An extract in which every outcome occurs."""
    return ward.extract(
        Patient=[patient(), patient("p2")],
        Encounter=[encounter(), encounter("e2", "p2", ends="2024-03-04T12:00:00Z")],
        Observation=[
            result(),
            result("bad", 5000),
            result("waits", of="p9", stay=None),
            result("left_out", code="9999-9"),
            "{",
            blood_pressure("b1", 120, 80),
        ],
    )


def test_ingesting_the_same_extract_twice_changes_nothing(open_ward: Ward) -> None:
    path = busy_night(open_ward)
    first = open_ward.ingest(path, night=1)
    before = everything(open_ward)
    again = open_ward.ingest(path, night=2)
    assert (first.is_new, again.is_new, again.extract_id) == (True, False, first.extract_id)
    assert everything(open_ward) == before
    assert len(list((open_ward.places.landing / "ward").glob("ward-*/manifest.json"))) == 2


def test_a_dry_run_says_what_the_run_then_does_and_writes_nothing(open_ward: Ward) -> None:
    path = busy_night(open_ward)
    before = sorted(file for file in open_ward.places.landing.rglob("*"))
    rows = everything(open_ward)
    told = open_ward.ingest(path, night=1, dry_run=True)
    assert sorted(file for file in open_ward.places.landing.rglob("*")) == before
    assert everything(open_ward) == rows
    done = open_ward.ingest(path, night=1)
    assert (told.accounts, told.quarantined, told.extract_id) == (done.accounts, done.quarantined, done.extract_id)
    assert list(open_ward.places.temp.glob("ingest-*")) == []


def test_a_large_extract_is_taken_in_on_disk_as_a_small_one_in_memory(
    make_ward: MakeWard, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bool] = []

    def noted(temp: Path, **options: Any) -> Any:
        opened.append(options["is_on_disk"])
        return connect(temp, **options)

    monkeypatch.setattr("integrations.ingest.scratch.connect", noted)
    small, large = make_ward("small"), make_ward("large")
    expected = small.ingest(busy_night(small))
    small.send(night=1, Patient=[patient("p9")])
    monkeypatch.setattr("integrations.ingest.run.MOST_LINES_IN_MEMORY", 1)
    done = large.ingest(busy_night(large))
    large.send(night=1, Patient=[patient("p9")])  # one line, but more wait
    assert opened == [False, False, True, True]
    assert done == expected
    assert everything(large) == everything(small)


def test_what_a_dry_run_that_died_left_is_gone_after_the_next_and_a_living_one_keeps_its_own(open_ward: Ward) -> None:
    path = busy_night(open_ward)
    dead = open_ward.places.temp / "plan-dead"
    dead.mkdir(parents=True)
    (dead / "tables.duckdb").write_bytes(b"rows of patients")
    with scratch(open_ward.places, dry_run=True) as living:
        open_ward.ingest(path, night=1, dry_run=True)
        assert living.temp.exists()
        assert not dead.exists()
    assert list(open_ward.places.temp.glob("plan-*")) == []


def test_the_account_of_each_table_is_kept_and_balances(open_ward: Ward) -> None:
    done = open_ward.ingest(busy_night(open_ward), night=1)
    observation = done.accounts["observation"]
    assert (observation.received, observation.mapped, observation.rows_written) == (6, 2, 3)
    assert (observation.quarantined, observation.waiting, observation.out_of_scope) == (2, 1, 1)
    encounters = done.accounts["encounter"]
    assert (encounters.mapped, encounters.unchanged, encounters.rows_written) == (1, 1, 2)
    with open_ward.records.read() as db:
        rows = db.execute(select(account).where(account.c.extract_id == done.extract_id)).all()
    assert {row.table_name: row.received for row in rows} == {
        name: counts.received for name, counts in done.accounts.items()
    }
    assert all(counts.balances for counts in done.accounts.values())


def test_every_table_is_reported_for_a_source_that_sent_something_and_none_for_others(open_ward: Ward) -> None:
    rows = tables_report(open_ward.records, open_ward.places)
    assert {row["source"] for row in rows} == {"ward"}
    assert len(rows) == 9
    assert open_ward.report("imaging_study") == {
        "table": "imaging_study",
        "source": "ward",
        "records": 0,
        "facts": 0,
        "versions": 0,
        "patients": 0,
        "first_available_at": None,
        "last_available_at": None,
        "out_of_scope": 0,
        "waiting": 0,
        "quarantined": 0,
    }


def test_a_record_out_of_scope_that_is_sent_again_is_one_record(open_ward: Ward) -> None:
    for night in (1, 2):
        open_ward.send(night=night, Observation=[result("o1", code="9999-9"), result(f"x{night}")])
    report = open_ward.report("observation")
    assert (report["out_of_scope"], report["records"]) == (1, 3)


class LakeThatFails(Lake):
    """A lake whose disk is full when one table is written."""

    def write(self, *arguments: Any, **options: Any) -> int:
        """Write, but not observations."""
        if arguments[1] == "observation":
            raise OSError("no space left on device")
        return super().write(*arguments, **options)


class RecordsThatFail(Records):
    """Records whose server goes away when the snapshot is committed."""

    @contextmanager
    def begin(self, *, dry_run: bool = False) -> Iterator[Connection]:
        """Begin, but not once an extract has landed."""
        with self.read() as db:
            if db.execute(select(extract).where(extract.c.status == "landed")).first():
                raise OSError("the server closed the connection")
        with super().begin(dry_run=dry_run) as connection:
            yield connection


def test_after_a_crash_the_tables_read_as_before_and_the_next_ingest_goes_on(
    open_ward: Ward, make_ward: MakeWard
) -> None:
    path = busy_night(open_ward)
    before = everything(open_ward)
    with pytest.raises(OSError, match="no space"):
        open_ward.with_lake(LakeThatFails(open_ward.places.lake.root, 2)).ingest(path, night=1)
    assert everything(open_ward) == before
    with pytest.raises(OSError, match="closed the connection"):
        open_ward.ingest(path, night=1, records=RecordsThatFail(open_ward.records.engine))
    assert everything(open_ward) == before

    done = open_ward.ingest(None, night=1)
    unbroken = make_ward("unbroken")
    unbroken.send(Patient=[patient(mrn="m1")], Encounter=[encounter()])
    assert unbroken.ingest(path, night=1).accounts == done.accounts
    assert everything(unbroken) == everything(open_ward)


def test_a_crashed_extract_taken_in_later_is_known_from_then_on_and_lies_in_landing_once(open_ward: Ward) -> None:
    path = busy_night(open_ward)
    with pytest.raises(OSError, match="no space"):
        open_ward.with_lake(LakeThatFails(open_ward.places.lake.root, 2)).ingest(path, night=1)
    done = open_ward.ingest(path, night=2)
    assert open_ward.rows("select distinct available_at::varchar from observation") == [("2024-03-12 05:00:00+00",)]
    with open_ward.records.read() as db:
        statuses = {row.extract_id: row.status for row in db.execute(select(extract))}
    assert (statuses[done.extract_id], set(statuses.values())) == ("committed", {"committed"})
    assert {folder.name for folder in (open_ward.places.landing / "ward").glob("ward-*Z-*") if folder.is_dir()} == set(
        statuses
    )


def test_without_a_path_and_nothing_left_to_do_it_says_so(open_ward: Ward) -> None:
    with pytest.raises(Refused, match="no extract of ward waits"):
        open_ward.ingest(None, night=1)


def test_one_ingest_at_a_time(open_ward: Ward) -> None:
    def while_it_runs(_step: str, _done: int, _total: int) -> None:
        with pytest.raises(Refused, match="another ingest is running"):
            open_ward.send(night=2, Observation=[result("o2")])

    assert open_ward.ingest(open_ward.extract(Observation=[result()]), night=1, progress=while_it_runs).is_new


def test_a_snapshot_that_somebody_else_made_meanwhile_stops_the_commit(open_ward: Ward) -> None:
    def while_it_runs(step: str, _done: int, _total: int) -> None:
        if step == "done":
            with open_ward.records.begin() as db:
                db.execute(snapshot.insert().values(created_at=FIRST_NIGHT, versions={}))

    with pytest.raises(NotInOrder, match="another ingest was committed"):
        open_ward.ingest(open_ward.extract(Observation=[result()]), night=1, progress=while_it_runs)


GOOD = [json.dumps(line, separators=(",", ":")) for line in (result(), blood_pressure("b1", 120, 80), result("o2"))]
IS_SOAK = "ROUNDS_SOAK" in os.environ  # make soak draws anew from its seed each time
NOISE = st.sampled_from(["{", "}", '"', "[", "null", "-1", "9e999", "\\u0000", " ", "2024-13-01", "#", "é"])
CHANGES = st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 40), NOISE)


@settings(max_examples=12, derandomize=not IS_SOAK, suppress_health_check=list(HealthCheck))
@given(st.lists(CHANGES, min_size=4, max_size=30))
def test_whatever_becomes_of_the_lines_the_account_balances_and_no_record_is_lost(
    tmp_path_factory: pytest.TempPathFactory, warm_ward: Path, changes: list[tuple[int, int, int, str]]
) -> None:
    place = tmp_path_factory.mktemp("property") / "ward"
    shutil.copytree(warm_ward, place)
    ward = open_home(place)
    lines = list(GOOD)
    for number, start, length, noise in changes:
        line = GOOD[number]
        lines.append(line[:start] + noise + line[start + length :])
    done = ward.ingest(ward.extract(Observation=list(lines)), night=1)
    counts = done.accounts["observation"]
    assert counts.received == sum(bool(line.strip()) for line in lines)
    assert counts.balances
    assert counts.mapped >= 3
    assert sum(done.quarantined.values()) == counts.quarantined
    ward.records.close()
    shutil.rmtree(place)
