"""The operational database opens, keeps what it acknowledged, and says what is wrong."""

import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, create_engine, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, StatementError

from integrations.errors import EnvironmentFault, NotInOrder, WrongUsage
from integrations.records import Records, migrations, open_records
from integrations.records.database import CURRENT_REVISION, is_wal_safe
from integrations.records.schema import metadata, outbox, run, snapshot
from integrations.records.schema import score as score_table

NIGHT = datetime(2024, 7, 1, 6, 30, 0, 123456, tzinfo=UTC)


def take_snapshot(records: Records, at: datetime = NIGHT) -> None:
    with records.begin() as connection:
        connection.execute(insert(snapshot).values(created_at=at, versions={"patient": 3}))


def count_snapshots(records: Records) -> int:
    with records.read() as connection:
        return len(connection.execute(select(snapshot)).all())


def test_a_new_database_has_exactly_the_declared_tables_and_rules(empty_url: str) -> None:
    records = open_records(empty_url)
    with records.read() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        found = {rule["name"] for name in metadata.tables for rule in inspect(connection).get_check_constraints(name)}
        keys = {name: inspect(connection).get_pk_constraint(name)["constrained_columns"] for name in metadata.tables}
        partial = {
            index["name"]
            for name in metadata.tables
            for index in inspect(connection).get_indexes(name)
            if index.get("dialect_options", {}).get(f"{connection.dialect.name}_where") is not None
        }
    records.close()
    declared = {
        rule.name
        for table in metadata.tables.values()
        for rule in table.constraints
        if isinstance(rule, CheckConstraint)
    }
    assert differences == []
    assert found == declared
    assert keys == {name: [column.name for column in table.primary_key] for name, table in metadata.tables.items()}
    assert partial == {
        index.name
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert "only_live_is_written_back" in found


def test_the_current_revision_is_the_newest_one_in_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == CURRENT_REVISION


@pytest.mark.parametrize("earlier", ["0001", "0002"])
def test_a_database_of_an_earlier_revision_gets_what_is_new_and_keeps_what_it_holds(home: Path, earlier: str) -> None:
    url, config = f"sqlite:///{home / 'records.db'}", Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, earlier)
        connection.execute(insert(snapshot).values(created_at=NIGHT, versions={"patient": 3}))
    engine.dispose()
    records = open_records(url)
    assert count_snapshots(records) == 1
    with records.read() as db:
        assert {*inspect(db).get_table_names()} == {*metadata.tables, "alembic_version"}
    records.close()


def test_scores_and_their_places_in_the_outbox_stay_as_they_are_when_indexes_go(empty_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    score = {
        "run_id": "run-1",
        "site_id": "demo",
        "use_case": "aki_48h",
        "patient_id": "ehr/p",
        "encounter_id": "ehr/e",
    }
    score |= {"source_encounter_id": "e", "prediction_time": NIGHT, "version": 1, "stage": "live", "status": "scored"}
    score |= {"probability": 0.25, "reasons": ["flagged"], "explanation": [{"feature": "age", "value": 1.0}]}
    score |= {"manifest_hash": "a", "view_versions": {"labs": "b"}, "snapshot_id": 1, "scored_at": NIGHT}
    scores = [{**score, "score_id": f"score-{purpose}", "purpose": purpose} for purpose in ("live", "silent")]
    queued = {"score_id": "score-live", "purpose": "live", "identifier": "i", "status": "sent", "attempts": 3}
    at = {"as_of": NIGHT, "started_at": NIGHT}
    engine = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg://"))
    if engine.dialect.name == "sqlite":
        Path(engine.url.database or "").parent.mkdir()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.execute(insert(snapshot).values(created_at=NIGHT, versions={}))
        connection.execute(insert(run).values(run_id="run-1", kind="score", status="done", **at))
        connection.execute(insert(score_table), scores)
        connection.execute(insert(outbox).values(**queued, queued_at=NIGHT, last_error="it said no"))
        before = [connection.execute(select(each).order_by("score_id")).all() for each in (score_table, outbox)]
    engine.dispose()
    with closing(open_records(empty_url)) as records:
        with records.read() as connection:
            after = [connection.execute(select(each).order_by("score_id")).all() for each in (score_table, outbox)]
            assert {*inspect(connection).get_table_names()} == {*metadata.tables, "alembic_version"}
        assert after == before
        assert [len(rows) for rows in after] == [2, 1]
        of_a_silent = {"score_id": "score-silent", "identifier": "j", "queued_at": NIGHT}
        with pytest.raises(DBAPIError, match=r"(?i)foreign key"), records.begin() as connection:
            connection.execute(insert(outbox).values(queued | of_a_silent))


def test_two_processes_that_start_at_once_make_one_database(empty_url: str) -> None:
    opened: list[Records] = []
    threads = [threading.Thread(target=lambda: opened.append(open_records(empty_url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    take_snapshot(opened[0])
    assert [count_snapshots(records) for records in opened] == [1, 1, 1]
    for records in opened:
        records.close()


def test_an_instant_comes_back_in_utc_to_the_microsecond(records: Records) -> None:
    take_snapshot(records, NIGHT.astimezone(timezone(timedelta(hours=-5))))
    with records.read() as connection:
        found = connection.execute(select(snapshot.c.created_at)).scalar_one()
        finished_at = connection.execute(select(run.c.finished_at)).scalar()
    assert (found, found.tzinfo, finished_at) == (NIGHT, UTC, None)


def test_a_naive_instant_is_refused(records: Records) -> None:
    with pytest.raises(StatementError, match="an instant needs its time zone"):
        take_snapshot(records, NIGHT.replace(tzinfo=None))


def test_what_is_missing_is_null_and_not_the_word_null(records: Records) -> None:
    row = {"run_id": "r1", "kind": "score", "as_of": NIGHT, "started_at": NIGHT, "status": "running"}
    with records.begin() as connection:
        connection.execute(insert(run).values(row | {"reasons": None, "finished_at": None}))
        empty = select(run.c.reasons, run.c.finished_at).where(run.c.reasons.is_(None), run.c.finished_at.is_(None))
        assert connection.execute(empty).all() == [(None, None)]


def test_an_exception_takes_back_the_whole_transaction(records: Records) -> None:
    with pytest.raises(DBAPIError), records.begin() as connection:
        connection.execute(
            insert(snapshot), [{"created_at": NIGHT, "versions": {}}, {"created_at": None, "versions": {}}]
        )
    assert count_snapshots(records) == 0


def test_a_dry_run_changes_nothing(records: Records) -> None:
    with records.begin(dry_run=True) as connection:
        connection.execute(insert(snapshot).values(created_at=NIGHT, versions={}))
        assert len(connection.execute(select(snapshot)).all()) == 1
    assert count_snapshots(records) == 0


def test_a_reader_cannot_write_and_a_writer_after_it_can(records: Records) -> None:
    with pytest.raises(DBAPIError, match=r"readonly|read-only"), records.read() as connection:
        connection.execute(insert(snapshot).values(created_at=NIGHT, versions={}))
    take_snapshot(records)
    assert count_snapshots(records) == 1


def test_the_reader_sees_one_moment_while_another_writes(postgres_records: Records) -> None:
    with postgres_records.read() as connection:
        before = len(connection.execute(select(snapshot)).all())
        take_snapshot(postgres_records)
        assert len(connection.execute(select(snapshot)).all()) == before == 0


def test_a_row_that_points_nowhere_is_refused(records: Records) -> None:
    with pytest.raises(DBAPIError, match=r"(?i)foreign key"), records.begin() as connection:
        connection.execute(
            text("insert into account values ('none', 'patient', 1, 1, 0, 0, 0, 0, 1, 0)"),
        )


def test_sqlite_is_private_and_waits_for_the_disk(sqlite_records: Records, home: Path) -> None:
    with sqlite_records.read() as connection:
        asked = ("synchronous", "journal_mode", "foreign_keys", "busy_timeout")
        found = {name: connection.exec_driver_sql(f"pragma {name}").scalar() for name in asked}
    journal = "wal" if is_wal_safe(sqlite3.sqlite_version_info[:3]) else "delete"
    assert found == {"synchronous": 2, "journal_mode": journal, "foreign_keys": 1, "busy_timeout": 30_000}
    assert stat.S_IMODE((home / "records.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("version", "is_safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 9), False),
        ((3, 50, 7), True),
        ((3, 51, 1), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
    ],
)
def test_the_write_ahead_log_is_used_only_where_it_loses_nothing(version: tuple[int, int, int], is_safe: bool) -> None:
    assert is_wal_safe(version) is is_safe


def test_a_database_of_a_newer_rounds_is_left_alone(empty_url: str) -> None:
    records = open_records(empty_url)
    with records.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    records.close()
    with pytest.raises(NotInOrder, match="9999"):
        open_records(empty_url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/rounds", "records.db"])
def test_a_url_that_cannot_hold_records_is_wrong_usage(url: str) -> None:
    with pytest.raises(WrongUsage):
        open_records(url)


def test_a_file_that_is_no_database_is_an_environment_fault(home: Path) -> None:
    (home / "records.db").write_text("this is a letter, not a database " * 100)
    with pytest.raises(EnvironmentFault, match="not a database"):
        open_records(f"sqlite:///{home / 'records.db'}")


def test_a_server_that_does_not_answer_is_an_environment_fault_without_its_password() -> None:
    with pytest.raises(EnvironmentFault) as raised:
        open_records("postgresql://rounds:secret-word@127.0.0.1:1/rounds")
    assert "secret-word" not in str(raised.value)
    assert "127.0.0.1" in str(raised.value)


def test_opening_a_current_database_costs_no_migration_library(sqlite_records: Records, home: Path) -> None:
    code = (
        "import sys; from integrations.records import open_records;"
        f"open_records('sqlite:///{home / 'records.db'}').close();"
        "print(sorted({'alembic', 'psycopg', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
