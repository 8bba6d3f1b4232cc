"""The lake answers "as of T" as an oracle in plain Python does, over 100,000 random look-ups; a million in `make soak`.

Among the facts are late, corrected, withdrawn, merged and parted ones, copies of two feeds, and versions of one moment.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from integrations.identity import MOST_IDS_OF_A_PERSON
from integrations.tables import TABLES
from tests.promises.feeds import FEEDS
from tests.promises.histories import HOUR, LAKE_BEGINS, Facts, Shape, history, open_history
from tests.properties.oracle import Fact, Oracle

SOAK = int(os.environ.get("ROUNDS_SOAK", "0"))  # the seed of its round
LOOK_UPS = 1_000_000 if SOAK else 100_000
SHAPE = Shape(
    seed=11 + SOAK, person_count=120, tick=HOUR, corrected=0.5, moved=0.0, hour_of_t=12, loaded=0.2
)  # whole hours: many versions fall on one moment
MICROSECOND = timedelta(microseconds=1)
INSTANT = pa.timestamp("us", "UTC")
AUTHORITIES = [feed.source for feed in FEEDS if "observation" in feed.is_authoritative_for]
KEYS = {name: table.key for name, table in TABLES.items()}
VERSION = ("extract_id", "source_file", "source_line")
LookUp = tuple[str, str, datetime]  # table ("person" for who somebody is), key, as of


@dataclass(frozen=True)
class Hospital:
    """Facts, the lake that holds them, and what is asked of both."""

    facts: Facts
    lake: duckdb.DuckDBPyConnection
    asked: list[LookUp]

    def oracle(self, **changes: Any) -> Oracle:
        return Oracle(self.facts, KEYS, AUTHORITIES, MOST_IDS_OF_A_PERSON, **changes)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    facts = history(SHAPE)
    with_a_filler(facts)
    lake = open_history(facts, tmp_path_factory.mktemp("lake"), threads=2)
    yield Hospital(facts, lake, look_ups(facts))
    lake.close()


def test_the_lake_and_an_oracle_agree_on_every_random_look_up(hospital: Hospital) -> None:
    oracle = hospital.oracle()
    expected = [answer(oracle, *each) for each in hospital.asked]
    found = answers_of_lake(hospital)
    assert len(hospital.asked) == LOOK_UPS
    assert [each for each, ours, theirs in zip(hospital.asked, found, expected, strict=True) if ours != theirs] == []


def test_the_look_ups_meet_late_corrected_withdrawn_merged_and_equal_time_facts(hospital: Hospital) -> None:
    oracle, met = hospital.oracle(), Counter[str]()
    for table, key, at in hospital.asked[:20_000]:
        if table == "person":
            met["merged"] += len(oracle.person(key, at)) > 1
            before = {link["available_at"] for link in oracle.links[key] if link["available_at"] < at}
            met["parted"] += any(oracle.person(key, moment) - oracle.person(key, at) for moment in before)
            continue
        told = [row for row in oracle.versions[table][key] if row["available_at"] <= at]
        known = oracle.known(table, key, at)
        met["not known yet"] += known is None
        if known is not None:
            true_at = known["effective_at"] or known["available_at"]
            met["late"] += known["available_at"] - true_at > 24 * HOUR
            met["corrected"] += len(told) > 1
            met["withdrawn"] += known["is_retracted"]
            met["brought back"] += not known["is_retracted"] and any(row["is_retracted"] for row in told)
            met["of one moment"] += sum(row["available_at"] == known["available_at"] for row in told) > 1
            met["at its very moment"] += known["available_at"] == at
            met["copy"] += table == "observation" and oracle.seen(key, at) is None
    kinds = ("merged", "parted", "not known yet", "late", "corrected", "withdrawn", "brought back", "of one moment")
    assert {kind: met[kind] for kind in (*kinds, "at its very moment", "copy") if met[kind] < 20} == {}


def test_an_oracle_to_whom_the_first_of_one_moment_stands_disagrees(hospital: Hospital) -> None:
    oracle = hospital.oracle(is_last_wins=False)
    assert disagreements(hospital, oracle, timedelta(0)) > 100


def test_an_oracle_that_knows_a_fact_only_after_its_moment_disagrees(hospital: Hospital) -> None:
    assert disagreements(hospital, hospital.oracle(), MICROSECOND) > 100


def disagreements(hospital: Hospital, oracle: Oracle, back: timedelta) -> int:
    some = hospital.asked[:10_000]
    found = answers_of_lake(Hospital(hospital.facts, hospital.lake, some))
    theirs = [answer(oracle, table, key, at - back) for table, key, at in some]
    return sum(ours != other for ours, other in zip(found, theirs, strict=True))


def with_a_filler(facts: Facts) -> None:
    """A number that ever more patients are given, until it is one too many."""
    patients = sorted({str(row["patient_id"]) for row in facts["patient"]})
    for number, patient in enumerate(patients[: MOST_IDS_OF_A_PERSON + 10]):
        told = {**facts["patient_link"][0], "patient_id": patient, "link_id": f"{patient}#filler"}
        at = LAKE_BEGINS + 60 * number * HOUR
        facts["patient_link"].append({**told, "value": "4711", "available_at": at, "is_retracted": False})


def look_ups(facts: Facts) -> list[LookUp]:
    """Any fact at any time, most at a moment at which it was told, or a microsecond before or after it."""
    chance = random.Random(SHAPE.seed)
    entities = [(name, str(key)) for name, rows in facts.items() for key in sorted({str(r[KEYS[name]]) for r in rows})]
    persons = [("person", key) for table, key in entities if table == "patient"]
    entities += persons * (len(entities) // (8 * len(persons)))
    moments = sorted({row["available_at"] for rows in facts.values() for row in rows})  # type: ignore[type-var]
    told: dict[tuple[str, str], list[datetime]] = {}
    for name, rows in facts.items():
        for row in rows:
            told.setdefault((name, str(row[KEYS[name]])), []).append(row["available_at"])  # type: ignore[arg-type]
    for row in facts["patient_link"]:
        told.setdefault(("person", str(row["patient_id"])), []).append(row["available_at"])  # type: ignore[arg-type]
    asked = []
    for table, key in chance.choices(entities, k=LOOK_UPS):
        near = told.get((table, key), moments) if chance.random() < 0.7 else moments
        moment: datetime = chance.choice(near)  # type: ignore[assignment]
        shift = chance.choice([timedelta(0), -MICROSECOND, MICROSECOND, chance.randint(-2000, 2000) * HOUR])
        asked.append((table, key, moment + shift))
    return asked


def answer(oracle: Oracle, table: str, key: str, at: datetime) -> object:
    """Who somebody is, or which version of a fact is seen and whether it withdraws it."""
    if table == "person":
        return tuple(sorted(oracle.person(key, at)))
    row: Fact | None = oracle.seen(key, at) if table == "observation" else oracle.known(table, key, at)
    return None if row is None else (*(row[name] for name in VERSION), row["is_retracted"])


def answers_of_lake(hospital: Hospital) -> list[object]:
    found: list[object] = [None] * len(hospital.asked)
    for table in (*TABLES, "person"):
        mine = [(number, key, at) for number, (name, key, at) in enumerate(hospital.asked) if name == table]
        numbers, keys, times = zip(*mine, strict=True)
        asked = pa.table({"number": numbers, "key": keys, "at": pa.array(times, INSTANT)})
        hospital.lake.register("asked", asked)
        for number, *told in hospital.lake.execute(_question(table)).fetchall():
            assert found[number] is None, "two versions of one fact are seen at once"
            found[number] = tuple(told[0]) if table == "person" else tuple(told)
        hospital.lake.unregister("asked")
    return found


def _question(table: str) -> str:
    as_of = "available_at <= asked.at and asked.at < superseded_at"
    if table == "person":
        return (
            "select number, list(other_patient_id order by other_patient_id) from asked "
            f"join same_person on patient_id = key and {as_of} group by number"
        )
    return (
        f"select number, {', '.join(VERSION)}, is_retracted from asked join {table} on {KEYS[table]} = key and {as_of}"
    )
