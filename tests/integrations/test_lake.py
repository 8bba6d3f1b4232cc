"""The lake: what was written is there, what no record names is not, and what a stored score needs stays."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from integrations.duck import connect
from integrations.errors import NotInOrder, WrongUsage
from integrations.identity import MOST_IDS_OF_A_PERSON
from integrations.lake import Lake
from integrations.reading import WorkBuckets
from integrations.snapshot import Feed
from integrations.tables import TABLES


@pytest.fixture
def connection(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    return connect(tmp_path / "spill")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "a lake", 4)
    made.create()
    return made


def observations(*rows: tuple[str, str, str, float], extract_id: str = "demo_ehr-1", code: str = "2160-0") -> str:
    """Rows of (patient, result, day on which it became available, value)."""
    listed = ", ".join(
        f"('{p}', '{o}', timestamptz '{at} 08:00:00+00', {v}, {n})" for n, (p, o, at, v) in enumerate(rows)
    )
    return f"""
        select 'demo_ehr' as source, 'demo' as site_id, p as patient_id, o as observation_id, null as encounter_id,
            'laboratory' as category, '{code}' as code, 'local' as local_system, 'crea' as local_code,
            v as value_number, 'mg/dL' as unit, null as comparator, null as value_text, null as value_code,
            'final' as status, false as is_extreme, null as order_number, day as effective_at, day as available_at,
            false as is_available_at_inferred, false as is_retracted, '{extract_id}' as extract_id,
            'Observation.ndjson' as source_file, n + 1 as source_line
        from (values {listed}) as t(p, o, day, v, n)
    """


def links(*rows: tuple[str, str], extract_id: str = "demo_ehr-1") -> str:
    """Rows of (patient, identifier)."""
    listed = ", ".join(f"('{p}', '{v}')" for p, v in rows)
    return f"""
        select 'demo_ehr' as source, 'demo' as site_id, p as patient_id, p || '|' || v as link_id, 'mrn' as system,
            v as value, null as effective_at, timestamptz '2024-01-01' as available_at,
            false as is_available_at_inferred, false as is_retracted, '{extract_id}' as extract_id,
            'Patient.ndjson' as source_file, 1 as source_line
        from (values {listed}) as t(p, v)
    """


def seen(
    connection: duckdb.DuckDBPyConnection, columns: str = "observation_id, value_number"
) -> list[tuple[object, ...]]:
    return connection.execute(f"select {columns} from observation order by all").fetchall()


def test_an_empty_lake_has_every_relation_with_its_columns_and_no_row(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    for versions in ({}, lake.versions()):
        lake.open_snapshot(connection, versions)
        for name, table in TABLES.items():
            relation = connection.table(name)
            assert relation.columns == [*(column.name for column in table.all_columns), "superseded_at"]
            assert relation.count("*").fetchall() == [(0,)]
        assert connection.execute("select count(*) from same_person").fetchall() == [(0,)]


def test_what_is_written_is_read_back_to_the_microsecond(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    row = observations(("demo_ehr/p1", "demo_ehr/o1", "2024-03-01", 1.25))
    exact = f"select * replace (timestamptz '2024-03-01 01:02:03.456789-06' as effective_at) from ({row})"
    assert lake.write(connection, "observation", exact, extract_id="demo_ehr-1") == 1
    lake.open_snapshot(connection, lake.versions())
    assert seen(connection, "patient_id, value_number, effective_at, source_line") == [
        ("demo_ehr/p1", 1.25, datetime(2024, 3, 1, 7, 2, 3, 456789, tzinfo=UTC), 1)
    ]


@pytest.mark.parametrize("many", [1, 21])
def test_rows_that_know_their_bucket_are_written_as_those_that_do_not(
    lake: Lake, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr("integrations.lake_files.MANY_ROWS", many)
    rows = observations(*((f"demo_ehr/p{n}", f"demo_ehr/o{n}", "2024-01-01", float(n)) for n in range(20)))
    assert lake.write(connection, "observation", rows, extract_id="demo_ehr-1") == 20
    spread = lake.versions()
    lake.open_snapshot(connection, spread)
    expected = seen(connection, "*")
    lake.restore_to({})
    connection.execute(f"create temp table mapped as select *, {lake.bucket_sql('patient_id')} as bucket from ({rows})")
    assert lake.write(connection, "observation", "select * from mapped", extract_id="demo_ehr-1") == 20
    lake.open_snapshot(connection, lake.versions())
    assert seen(connection, "*") == expected
    assert {bucket for (bucket,) in seen(connection, "bucket")} == {0, 1, 2, 3}


def test_nothing_to_write_makes_no_version(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    nothing = f"select * from ({observations(('p', 'o', '2024-01-01', 1.0))}) where false"
    assert lake.write(connection, "observation", nothing, extract_id="demo_ehr-1") == 0
    assert lake.versions()["observation"] == 0


def test_the_commit_names_the_extract_that_it_brought(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    lake.write(connection, "observation", observations(("p", "o", "2024-01-01", 1.0)), extract_id="demo_ehr-7")
    log = sorted((lake.root / "observation" / "_delta_log").glob("*.json"))[-1]
    assert json.loads(log.read_text().splitlines()[0])["commitInfo"]["extract_id"] == "demo_ehr-7"


def test_a_patient_keeps_the_bucket_for_ever(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    ids = [f"demo_ehr/p{number}" for number in range(50)]
    expected = [int(hashlib.md5(name.encode()).hexdigest()[:8], 16) % 4 for name in ids]
    found = connection.execute(
        f"select {lake.bucket_sql('i')} from (select unnest(?) as i, unnest(range(50)) as n) order by n", [ids]
    ).fetchall()
    assert [bucket for (bucket,) in found] == expected


def test_creating_a_lake_that_is_there_changes_nothing(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    lake.write(connection, "observation", observations(("p", "o", "2024-01-01", 1.0)), extract_id="demo_ehr-1")
    before = lake.versions()
    lake.create()
    assert lake.versions() == before
    lake.open_snapshot(connection, lake.versions())
    assert seen(connection) == [("o", 1.0)]


def test_another_bucket_count_is_refused(lake: Lake) -> None:
    with pytest.raises(WrongUsage, match="bucket_count is 8, but the lake was made with 4"):
        Lake(lake.root, 8).create()


def test_a_corrected_result_replaces_the_first_one_from_its_availability_on(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    lake.write(
        connection,
        "observation",
        observations(("p1", "o1", "2024-01-01", 1.0), ("p2", "bystander", "2024-01-01", 5.0)),
        extract_id="demo_ehr-1",
    )
    corrected = observations(("p1", "o1", "2024-01-03", 2.0), extract_id="demo_ehr-2")
    lake.write(connection, "observation", corrected, extract_id="demo_ehr-2")
    lake.open_snapshot(connection, lake.versions())
    assert seen(
        connection, "observation_id, value_number, superseded_at = 'infinity', superseded_at::date::varchar"
    ) == [
        ("bystander", 5.0, True, "infinity"),
        ("o1", 1.0, False, "2024-01-03"),
        ("o1", 2.0, True, "infinity"),
    ]


def test_of_two_versions_available_at_once_only_the_later_extract_is_ever_seen(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    for number, value in ((2, 2.0), (1, 1.0)):
        row = observations(("p1", "o1", "2024-01-01", value), extract_id=f"demo_ehr-{number}")
        lake.write(connection, "observation", row, extract_id=f"demo_ehr-{number}")
    lake.open_snapshot(connection, lake.versions())
    assert seen(connection, "value_number, superseded_at > available_at") == [(1.0, False), (2.0, True)]


def test_a_result_whose_code_was_corrected_is_gone_from_the_old_code(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    lake.write(connection, "observation", observations(("p1", "o1", "2024-01-01", 1.0)), extract_id="demo_ehr-1")
    moved = observations(("p1", "o1", "2024-01-02", 1.0), code="38483-4", extract_id="demo_ehr-2")
    lake.write(connection, "observation", moved, extract_id="demo_ehr-2")
    lake.open_snapshot(connection, lake.versions(), codes=["2160-0"])
    assert seen(connection, "code, superseded_at::date::varchar") == [("2160-0", "2024-01-02")]
    lake.open_snapshot(connection, lake.versions(), codes=[])
    assert seen(connection) == []


@pytest.mark.parametrize("materialize", [True, False])
def test_a_reader_may_take_only_some_tables_and_columns(
    lake: Lake, connection: duckdb.DuckDBPyConnection, materialize: bool
) -> None:
    lake.write(connection, "observation", observations(("p1", "o1", "2024-01-01", 1.0)), extract_id="demo_ehr-1")
    lake.open_snapshot(
        connection,
        lake.versions(),
        tables=["observation"],
        columns={"observation": ["code", "value_number"]},
        materialize=materialize,
    )
    assert "unit" not in connection.table("observation").columns
    assert seen(connection, "observation_id, code, value_number, is_retracted") == [("o1", "2160-0", 1.0, False)]
    with pytest.raises(duckdb.CatalogException):
        connection.table("medication")


def test_feeds_are_a_relation(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    live = datetime(2024, 7, 1, 5, tzinfo=UTC)
    feed = Feed(
        source="demo_ehr",
        site_id="demo",
        time_zone="America/Chicago",
        lateness=timedelta(hours=36),
        go_live_at=live,
        tables=("patient", "encounter"),
        not_told=("encounter:emergency",),
    )
    lake.open_snapshot(connection, {}, feeds=[feed])
    assert connection.table("feed").fetchall() == [
        (
            "demo_ehr",
            "demo",
            "America/Chicago",
            timedelta(hours=36),
            live,
            False,
            ["patient", "encounter"],
            ["encounter:emergency"],
        )
    ]


def test_work_buckets_hold_every_fact_once_and_whole_persons(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    pairs = [(f"demo_ehr/p{number}", f"demo_lis/m{number}") for number in range(20)]
    rows = [(name, f"{name}/o", "2024-01-01", 1.0) for pair in pairs for name in pair]
    lake.write(
        connection, "observation", observations(*rows, ("alone", "o", "2024-01-01", 1.0)), extract_id="demo_ehr-1"
    )
    lake.write(
        connection,
        "patient_link",
        links(*((name, f"m{number}") for number, pair in enumerate(pairs) for name in pair), ("alone", "a")),
        extract_id="demo_ehr-1",
    )
    facts: list[tuple[object, ...]] = []
    for bucket in range(4):
        lake.open_snapshot(connection, lake.versions(), buckets=WorkBuckets(4, (bucket,)))
        here = {str(name) for (name,) in seen(connection, "patient_id")}
        assert all((a in here) == (b in here) for a, b in pairs)
        assert {str(a) for (a,) in connection.execute("select patient_id from same_person").fetchall()} == here
        facts += seen(connection, "observation_id")
    assert len(facts) == len(set(facts)) == 41
    lake.open_snapshot(connection, lake.versions(), buckets=WorkBuckets(4, ()))
    assert seen(connection) == []


@pytest.mark.parametrize("count", [4, 12])
@pytest.mark.parametrize("columns", [{}, {"observation": ["code", "value_number"]}])
def test_work_buckets_give_the_same_whether_what_lies_elsewhere_is_gathered_first(
    lake: Lake, connection: duckdb.DuckDBPyConnection, tmp_path: Path, count: int, columns: dict[str, list[str]]
) -> None:
    pairs = [(f"demo_ehr/p{number}", f"demo_lis/m{number}") for number in range(20)]
    rows = [(name, f"{name}/o", "2024-01-01", 1.0) for pair in pairs for name in pair]
    # told once more under the other number, with the same order number: a copy, of which one is seen
    again = [
        (name, f"{name}/again", day, 2.0)
        for pair in pairs[:5]
        for name, day in zip(pair, ("2024-01-02", "2024-01-03"), strict=True)
    ]
    copies = observations(*again, extract_id="demo_ehr-2").replace("null as order_number", "'A1' as order_number")
    copies = copies.replace("day as effective_at", "timestamptz '2024-01-02' as effective_at")
    lake.write(connection, "observation", observations(*rows), extract_id="demo_ehr-1")
    lake.write(connection, "observation", copies, extract_id="demo_ehr-2")
    linked_rows = links(*((name, f"m{number}") for number, pair in enumerate(pairs) for name in pair))
    lake.write(connection, "patient_link", linked_rows, extract_id="demo_ehr-1")
    versions, asked = lake.versions(), {"tables": ["observation"], "columns": columns}
    (tmp_path / "gathered").mkdir()
    linked = lake.find_linked(connection, versions, count, gather_into=tmp_path / "gathered", **asked)
    assert linked.gathered
    found: list[tuple[object, ...]] = []
    for number in range(count):
        buckets = WorkBuckets(count, (number,))
        read = []
        for given in (None, linked):
            lake.open_snapshot(connection, versions, buckets=buckets, linked=given, **asked)
            people = connection.execute("select * from same_person order by all").fetchall()
            read.append((seen(connection, "observation_id, value_number, available_at, superseded_at"), people))
        assert read[0] == read[1]
        found += read[0][0]
    lake.open_snapshot(connection, versions, **asked)
    assert sorted(found) == sorted(seen(connection, "observation_id, value_number, available_at, superseded_at"))
    assert len(found) == len(rows) + len(again)
    assert sum(str(until) < "2100" for _, _, _, until in found) == 5, "the copies told first"
    Path(linked.gathered["observation"][0]).unlink()
    with pytest.raises(duckdb.IOException):
        lake.open_snapshot(connection, versions, buckets=WorkBuckets(count, (0,)), linked=linked)


def test_a_filler_joins_nobody_in_any_bucket_though_few_of_those_who_share_it_lie_there(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    names = [f"demo_ehr/p{number}" for number in range(MOST_IDS_OF_A_PERSON + 1)]
    lake.write(connection, "patient_link", links(*((name, "4711") for name in names)), extract_id="demo_ehr-1")
    found: list[tuple[object, ...]] = []
    for bucket in range(4):
        lake.open_snapshot(connection, lake.versions(), buckets=WorkBuckets(4, (bucket,)))
        found += connection.execute("select patient_id, other_patient_id from same_person").fetchall()
    assert sorted(found) == sorted((name, name) for name in names)


def test_a_commit_that_no_record_names_is_undone_and_the_next_one_works(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    lake.write(connection, "observation", observations(("p1", "o1", "2024-01-01", 1.0)), extract_id="demo_ehr-1")
    recorded = lake.versions()
    lake.write(connection, "observation", observations(("p1", "lost", "2024-01-02", 9.0)), extract_id="demo_ehr-2")
    assert lake.restore_to(recorded) == ["observation"]
    assert lake.restore_to(recorded) == []
    lake.open_snapshot(connection, lake.versions())
    assert seen(connection) == [("o1", 1.0)]
    lake.write(connection, "observation", observations(("p1", "o2", "2024-01-02", 2.0)), extract_id="demo_ehr-2")
    lake.open_snapshot(connection, lake.versions())
    assert seen(connection) == [("o1", 1.0), ("o2", 2.0)]
    assert lake.restore_to({}) == ["observation"]
    lake.open_snapshot(connection, lake.versions())
    assert seen(connection) == []


def test_a_lake_older_than_its_records_is_not_in_order(lake: Lake) -> None:
    with pytest.raises(NotInOrder, match="table observation is at version 0, records name version 3"):
        lake.restore_to({"observation": 3})


def test_compaction_and_vacuum_keep_what_a_stored_score_refers_to_and_drop_the_rest(
    lake: Lake, connection: duckdb.DuckDBPyConnection
) -> None:
    for number in range(3):
        rows = observations(("p1", f"o{number}", "2024-01-01", 1.0), extract_id=f"demo_ehr-{number}")
        lake.write(connection, "observation", rows, extract_id=f"demo_ehr-{number}")
    scored = lake.versions()
    kept = {Path(file): Path(file).read_bytes() for file in lake.files("observation", scored["observation"])}
    before = _digest(lake, connection, scored)
    for number in range(3, 6):
        rows = observations(("p1", f"o{number}", "2024-01-02", 1.0), extract_id=f"demo_ehr-{number}")
        lake.write(connection, "observation", rows, extract_id=f"demo_ehr-{number}")
    between = set(lake.files("observation", lake.versions()["observation"])) - {str(path) for path in kept}
    leftover = next(iter(kept)).with_name("crashed-0.parquet")
    leftover.write_bytes(b"half a file")

    compacted = lake.compact()
    assert len(lake.files("observation", compacted["observation"])) == 1
    assert lake.vacuum([scored], retention_hours=0) == len(between) + 1

    assert _digest(lake, connection, scored) == before
    assert {path: path.read_bytes() for path in kept} == kept
    assert not any(Path(file).exists() for file in between)
    assert not leftover.exists()
    lake.open_snapshot(connection, compacted)
    assert [name for (name,) in seen(connection, "observation_id")] == [f"o{number}" for number in range(6)]


def _digest(lake: Lake, connection: duckdb.DuckDBPyConnection, versions: dict[str, int]) -> str:
    lake.open_snapshot(connection, versions)
    return hashlib.sha256(repr(seen(connection, "*")).encode()).hexdigest()
