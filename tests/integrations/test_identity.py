"""Identity: who is one person, as of when."""

import random
from datetime import date
from pathlib import Path

import duckdb
import pytest

from integrations.duck import connect
from integrations.identity import (
    MOST_IDS_OF_A_PERSON,
    bucket_of,
    bucket_sql,
    find_fillers,
    find_heads,
    make_same_person,
    work_buckets,
)

Link = tuple[str, str, str, str, bool]  # patient, identifier, known from, until, withdrawn
EVER = "infinity"


@pytest.fixture
def connection(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    opened = connect(tmp_path)
    opened.execute("create table patient (patient_id varchar)")
    opened.execute(
        "create table patient_link (patient_id varchar, value varchar, available_at timestamptz, "
        "superseded_at timestamptz, is_retracted boolean, system varchar default 'mrn')"
    )
    return opened


def know(connection: duckdb.DuckDBPyConnection, *links: Link) -> None:
    for link in links:
        connection.execute(
            "insert into patient_link by position (patient_id, value, available_at, superseded_at, is_retracted) "
            "values (?, ?, ?, ?, ?)",
            list(link),
        )
    find_fillers(connection, "patient_link")
    make_same_person(connection)


def persons(connection: duckdb.DuckDBPyConnection, day: str) -> set[str]:
    """The groups of patients who are one person on a day, each written as its members in order."""
    rows = connection.execute(
        """
        select distinct string_agg(other_patient_id, ' ' order by other_patient_id)
        from same_person
        where available_at <= $day::timestamptz and $day::timestamptz < superseded_at
        group by patient_id
        """,
        {"day": day},
    ).fetchall()
    return {str(members) for (members,) in rows}


def clusters(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    """The ids that were ever linked to each other, by the first of them."""
    find_heads(connection, "patient_link")
    rows = connection.execute("select list(patient_id order by patient_id) from head_of group by head order by head")
    return [ids for (ids,) in rows.fetchall()]


def test_two_ids_are_one_person_from_the_day_on_which_the_second_was_linked(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    know(
        connection,
        ("a", "1", "2024-01-01", EVER, False),
        ("b", "1", "2024-01-05", EVER, False),
        ("bystander", "2", "2024-01-01", EVER, False),
    )
    assert persons(connection, "2024-01-04") == {"a", "b", "bystander"}
    assert persons(connection, "2024-01-05") == {"a b", "bystander"}


def test_the_same_value_in_another_system_is_nobody_else(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("insert into patient_link values ('b', '1', '2024-01-01', 'infinity', false, 'insurance')")
    know(connection, ("a", "1", "2024-01-01", EVER, False))
    assert persons(connection, "2024-06-01") == {"a", "b"}


def test_a_withdrawn_link_parts_them_from_the_day_on_which_that_was_known(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    know(
        connection,
        ("a", "1", "2024-01-01", EVER, False),
        ("b", "1", "2024-01-01", "2024-02-01", False),
        ("b", "1", "2024-02-01", EVER, True),
    )
    assert persons(connection, "2024-01-31") == {"a b"}
    assert persons(connection, "2024-02-01") == {"a", "b"}


def test_a_chain_holds_only_while_every_link_of_it_holds(connection: duckdb.DuckDBPyConnection) -> None:
    know(
        connection,
        ("a", "1", "2024-01-01", EVER, False),
        ("b", "1", "2024-01-01", "2024-03-01", False),
        ("b", "2", "2024-01-01", EVER, False),
        ("c", "2", "2024-02-01", EVER, False),
        ("c", "3", "2024-02-01", EVER, False),
        ("d", "3", "2024-02-15", EVER, False),
        ("bystander", "9", "2024-01-01", EVER, False),
    )
    assert persons(connection, "2024-01-15") == {"a b", "c", "d", "bystander"}
    assert persons(connection, "2024-02-01") == {"a b c", "d", "bystander"}
    assert persons(connection, "2024-02-20") == {"a b c d", "bystander"}
    assert persons(connection, "2024-03-01") == {"a", "b c d", "bystander"}


def test_a_pair_linked_twice_over_is_one_stretch_of_time_and_a_gap_makes_two(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    know(
        connection,
        ("a", "1", "2024-01-01", EVER, False),
        ("b", "1", "2024-01-01", "2024-02-01", False),
        ("b", "1", "2024-02-01", "2024-03-01", False),
        ("a", "2", "2024-02-10", "2024-02-20", False),
        ("b", "2", "2024-02-10", "2024-02-20", False),
        ("b", "1", "2024-04-01", EVER, False),
    )
    stretches = connection.execute(
        "select available_at::date, nullif(superseded_at, 'infinity')::date from same_person "
        "where patient_id = 'a' and other_patient_id = 'b' order by all"
    ).fetchall()
    assert stretches == [(date(2024, 1, 1), date(2024, 3, 1)), (date(2024, 4, 1), None)]


def test_a_patient_without_a_link_is_always_the_same_person_as_themself(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute("insert into patient values ('lonely')")
    know(connection)
    assert persons(connection, "1900-01-01") == {"lonely"}


def test_a_cluster_is_all_that_was_ever_linked_and_works_in_one_bucket(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    know(
        connection,
        ("c", "1", "2024-01-01", EVER, False),
        ("b", "1", "2024-01-01", EVER, True),
        ("b", "2", "2024-01-01", EVER, False),
        ("a", "2", "2024-05-01", EVER, False),
        ("x", "7", "2024-01-01", EVER, False),
        ("y", "7", "2024-01-01", EVER, False),
        ("alone", "8", "2024-01-01", EVER, False),
    )
    assert clusters(connection) == [["a", "b", "c"], ["x", "y"]]
    lies_in = {name: bucket_of(name, 16) for name in "abcxy"}
    works_in = {name: lies_in["a" if name in "abc" else "x"] for name in lies_in}
    moved = work_buckets(connection, 16, "patient_link").to_pylist()
    assert {row["patient_id"]: row["work_bucket"] for row in moved} == {
        name: bucket for name, bucket in works_in.items() if bucket != lies_in[name]
    }
    assert len(moved) > 1


def test_clusters_that_a_later_link_joins_are_one_cluster(connection: duckdb.DuckDBPyConnection) -> None:
    pairs = [("b", "1"), ("e", "1"), ("c", "2"), ("d", "2"), ("d", "3"), ("e", "3"), ("x", "4"), ("y", "4")]
    know(connection, *((name, value, "2024-01-01", EVER, False) for name, value in pairs))
    assert clusters(connection) == [["b", "c", "d", "e"], ["x", "y"]]


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_those_that_plain_python_finds(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    chance = random.Random(seed)
    pairs = {(f"p{chance.randrange(40)}", str(chance.randrange(60))) for _ in range(70)}
    know(connection, *((name, value, "2024-01-01", EVER, False) for name, value in sorted(pairs)))
    groups = {name: {name} for name, _ in pairs}
    for name, value in pairs:
        for other in (other for other, same in pairs if same == value):
            joined = groups[name] | groups[other]
            groups.update(dict.fromkeys(joined, joined))
    expected = {tuple(sorted(group)) for group in groups.values() if len(group) > 1}
    assert {tuple(ids) for ids in clusters(connection)} == expected
    assert max(map(len, expected)) > 5


def test_a_placeholder_that_many_share_makes_nobody_one_person(connection: duckdb.DuckDBPyConnection) -> None:
    know(
        connection,
        *((f"p{number}", "999999", "2024-01-01", EVER, False) for number in range(MOST_IDS_OF_A_PERSON + 1)),
        *((f"q{number}", "1", "2024-01-01", EVER, False) for number in range(MOST_IDS_OF_A_PERSON)),
    )
    assert len(persons(connection, "2024-06-01")) == MOST_IDS_OF_A_PERSON + 1 + 1
    assert [len(ids) for ids in clusters(connection)] == [MOST_IDS_OF_A_PERSON]


def test_a_number_that_becomes_a_filler_joined_those_who_shared_it_until_then(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """Nobody could know it before: what is told later changes nothing of what was known."""
    early, late = ("p0", "p1"), [f"q{number}" for number in range(MOST_IDS_OF_A_PERSON - 1)]
    know(
        connection,
        *((name, "4711", "2024-01-01", EVER, False) for name in early),
        *((name, "4711", f"2024-03-{1 + number // 25:02}", EVER, False) for number, name in enumerate(late)),
    )
    assert persons(connection, "2024-02-28") == {"p0 p1", *late}
    assert len(persons(connection, "2024-03-01")) == 1 + len(late) - 25
    assert persons(connection, "2024-03-02") == {*early, *late}
    assert [len(ids) for ids in clusters(connection)] == [2 + 25]


def test_sql_and_python_agree_on_the_bucket(connection: duckdb.DuckDBPyConnection) -> None:
    assert bucket_of("demo_ehr/p0000012", 8) == 0xBC617BB8 % 8
    assert connection.execute(f"select {bucket_sql('$id', 13)}", {"id": "demo_ehr/p0000012"}).fetchall() == [
        (bucket_of("demo_ehr/p0000012", 13),)
    ]
