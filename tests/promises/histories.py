"""Generated histories: facts of every canonical table around a time T, and the same past with another future.

Most persons are told of live. Those of whom a feed's past was loaded, and those of a feed whose dates are moved, are
known as the history rule has it: see loaded.py.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zlib import crc32

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from integrations.duck import connect
from integrations.reading import Reading
from integrations.snapshot import Feed, open_relations
from integrations.tables import TABLES, Column
from models.cases import ARROW_TYPES, SITE
from tests.promises.drawn import STATUSES, WORDS, coded, literals, loinc
from tests.promises.feeds import FEEDS, SHIFTED
from tests.promises.loaded import Fact, loaded_versions

Facts = dict[str, list[Fact]]
Tables = dict[str, pa.Table]
LAKE_BEGINS = datetime(2023, 7, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FACTS_OF_A_PATIENT = {  # how many at most of a patient's number; an encounter has a stay in a ward besides
    "encounter": 4,
    "encounter_location": 4,
    "condition": 5,
    "procedure": 3,
    "observation": 45,
    "medication": 5,
    "imaging_study": 3,
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What Hypothesis decides: how much there is, how coarse the clock, how often facts are told anew, and the rest."""

    seed: int
    person_count: int
    tick: timedelta  # all times are whole ticks, so coarse ones fall together
    corrected: float  # share of the versions that are followed by another one
    moved: float  # share of what comes after T that is told otherwise; as much again is dropped
    hour_of_t: int
    lately: timedelta = 4 * DAY  # half of the facts are of this time before T
    loaded: float = 0.0  # share of the patients' numbers whose past was loaded
    shifted: float = 0.0  # share of the persons of the feed whose dates are moved

    @property
    def at(self) -> datetime:
        """T."""
        return datetime(2024, 2, 15, self.hour_of_t, tzinfo=UTC)


def open_history(facts: Facts, folder: Path, *, threads: int = 1) -> duckdb.DuckDBPyConnection:
    """Open the relations of a snapshot that holds these facts."""
    return open_tables(as_tables(facts), folder, threads=threads)


def as_tables(facts: Facts) -> Tables:
    """The rows of each canonical table as they lie in a file of the lake."""
    tables = {}
    for name, table in TABLES.items():
        schema = pa.schema([(c.name, ARROW_TYPES[c.kind]) for c in table.all_columns if c.name != "bucket"])
        tables[name] = pa.Table.from_pylist(facts.get(name, []), schema=schema)
    return tables


def open_tables(tables: Tables, folder: Path, *, threads: int = 1) -> duckdb.DuckDBPyConnection:
    """Write the tables as files of one bucket, and open the relations of a snapshot of them."""
    files = {}
    for name, rows in tables.items():
        path = folder / name / "bucket=0" / "rows.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, path)
        files[name] = [str(path)]
    is_shifted = SHIFTED.source in tables["patient"]["source"].to_pylist()
    return open_files(files, folder / "tmp", threads=threads, feeds=(*FEEDS, SHIFTED) if is_shifted else FEEDS)


def open_files(
    files: dict[str, list[str]], temp: Path, *, threads: int = 1, feeds: Sequence[Feed] = FEEDS
) -> duckdb.DuckDBPyConnection:
    """Open the relations of a snapshot that lies in these files."""
    connection = connect(temp, threads=threads)
    reading = Reading(
        files=files, bucket_count=1, buckets=None, tables=tuple(TABLES), codes=None, columns={}, materialize=True
    )
    open_relations(connection, reading, feeds)
    return connection


def history(shape: Shape) -> Facts:
    """Persons, some under two numbers, with facts of every canonical table around T, half of them of its last days."""
    return _History(shape, random.Random(shape.seed)).facts()


def with_another_future(facts: Facts, shape: Shape) -> Facts:
    """The same up to T in another order; of what became available later some is gone, some is other, some is new."""
    return _History(shape, random.Random(shape.seed + 1)).other_future(facts)


class _History:
    def __init__(self, shape: Shape, chance: random.Random) -> None:
        self.shape, self.chance = shape, chance
        self.is_loaded = False  # of the patient of whom is told
        self.numbers: tuple[str, ...] = ()  # of the person

    def facts(self) -> Facts:
        facts: Facts = {name: [] for name in TABLES}
        for number in range(self.shape.person_count):
            self.numbers = self._numbers_of(number)
            for patient in self.numbers:
                self.is_loaded = self._is_loaded(patient)
                facts["patient"] += self._versions("patient", patient, {"patient_id": patient}, LAKE_BEGINS)
                named = {"link_id": f"{patient}#mrn", "system": "mrn", "value": str(number)}
                linked_at = self._sometime() if self.chance.random() < 0.5 else self._lately()
                facts["patient_link"] += self._versions("patient_link", patient, named, linked_at)
                for table, most in FACTS_OF_A_PATIENT.items():
                    for count in range(self.chance.randint(most // 2, most)):
                        facts[table] += self._fact(table, patient, count)
        self.is_loaded = False
        facts["observation"] += [copy for row in facts["observation"] for copy in self._told_again(row, facts)]
        return facts

    def other_future(self, facts: Facts) -> Facts:
        at, moved, chance, changed = self.shape.at, self.shape.moved, self.chance, Facts()
        for table, rows in facts.items():
            known = [row for row in rows if row["available_at"] <= at]  # type: ignore[operator]
            told = [row for row in rows if row["available_at"] > at]  # type: ignore[operator]
            kept = [row if chance.random() > moved else self._otherwise(table, row) for row in told]
            kept = [row for row in kept if chance.random() > moved or _ends_a_moved_stay(table, row)]
            anew = [self._otherwise(table, row) for row in known if chance.random() < 0.2]
            strangers = [self._as_new(table, row) for row in known if chance.random() < 0.1]
            changed[table] = [*known, *kept, *anew, *strangers]
            chance.shuffle(changed[table])
        return changed

    def _numbers_of(self, person: int) -> tuple[str, ...]:
        if self.shape.shifted and self.chance.random() < self.shape.shifted:
            return (f"old/p{person}", f"old/q{person}")[: 1 + (self.chance.random() < 0.35)]
        return (f"ehr/p{person}", self.chance.choice([f"ehr/q{person}", f"lis/r{person}"]))[
            : 1 + (self.chance.random() < 0.35)
        ]

    def _is_loaded(self, patient: str) -> bool:
        return _is_shifted(patient) or bool(self.shape.loaded and self.chance.random() < self.shape.loaded)

    def _fact(self, table: str, patient: str, number: int) -> Iterator[Fact]:
        key = TABLES[table].key
        true_at = self._sometime() if self.chance.random() < 0.5 else self._lately()
        named: Fact = {key: f"{patient}.{table}{number}"}
        if table != "encounter" and "encounter_id" in _columns(table):
            named["encounter_id"] = f"{patient}.encounter{self.chance.randint(0, 3)}"
        yield from self._versions(table, patient, named, true_at)

    def _versions(self, table: str, patient: str, named: Fact, true_at: datetime) -> Iterator[Fact]:
        """A fact as it is told again and again: late, corrected, withdrawn, brought back, two versions at one time."""
        if self.is_loaded:
            yield from self._of_the_past(table, patient, named, true_at)
            return
        known_at = true_at + self._ticks(self.chance.choice([timedelta(0), 2 * HOUR, 30 * HOUR, 20 * DAY]))
        told = self._told(table, patient, named, true_at, known_at)
        if table == "encounter":
            told |= {"ended_at": None, "discharge_disposition": None}
        yield told
        while self.chance.random() < (0.7 if table == "encounter" else self.shape.corrected):
            known_at += self._ticks(self.chance.choice([timedelta(0), 5 * HOUR, 3 * DAY, 30 * DAY]))
            if self.chance.random() < 0.3:
                true_at += self._ticks(4 * HOUR) - self._ticks(4 * HOUR)
            if table == "encounter" and crc32(str(named).encode()) % 4:
                patient = self.numbers[-1]  # as after a merge: the stay is told of the number that stays
            yield self._told(table, patient, named, true_at, known_at)

    def _of_the_past(self, table: str, patient: str, named: Fact, true_at: datetime) -> Iterator[Fact]:
        """A fact as a feed's past holds it; a feed that went live after it may correct it."""
        told = self._told(table, patient, named, true_at, true_at)
        if table == "encounter" and _is_shifted(patient):
            told["ended_at"] = true_at + self._ticks(9 * DAY)
        versions = list(loaded_versions(table, told))
        yield from versions
        if not _is_shifted(patient) and self.chance.random() < self.shape.corrected:
            known_at: datetime = versions[-1]["available_at"]  # type: ignore[assignment]
            corrected_at = max(known_at, LAKE_BEGINS) + self._ticks(20 * DAY)
            yield self._told(table, patient, named, true_at, corrected_at)

    def _told(self, table: str, patient: str, named: Fact, true_at: datetime, known_at: datetime) -> Fact:
        has_time = table not in ("patient", "patient_link")
        head: Fact = {
            "source": patient.partition("/")[0],
            "site_id": SHIFTED.site_id if _is_shifted(patient) else SITE,
            "patient_id": patient,
            "effective_at": true_at if has_time else None,
            "available_at": known_at,
            "is_available_at_inferred": False,
            "is_retracted": self.chance.random() < (0.3 if table == "patient_link" else 0.12),
            "extract_id": f"{known_at:%Y%m%dT%H%M%S}.{self.chance.randint(0, 2)}",
            "source_file": f"{table}.ndjson",
            "source_line": self.chance.randint(1, 10**6),
        }
        columns = [column for column in TABLES[table].columns if column.name not in {*head, *named}]
        drawn = {column.name: self._value(table, column, true_at) for column in columns}
        if "code_system" in drawn:
            drawn["code_system"], drawn["code"] = self.chance.choice(coded(table))
        return {**head, **drawn, **named}

    def _value(self, table: str, column: Column, true_at: datetime) -> object:
        chance, name = self.chance, column.name
        match column.kind:
            case "number":
                return None if chance.random() < 0.05 else round(chance.uniform(*chance.choice(SCALES)), 1)
            case "flag":
                return chance.random() < 0.2
            case "count":
                return chance.choice([1, 2, 3])
            case "date":
                return date(chance.randint(1930, 2008), chance.randint(1, 12), chance.randint(1, 28))
            case "instant":
                if name == "started_at":
                    return true_at
                return None if chance.random() < 0.3 else true_at + self._ticks(9 * DAY)
        if name == "code" and table == "observation":
            return chance.choice(loinc())
        if name == "status":
            return chance.choice(STATUSES[table])
        if name in WORDS:
            return chance.choice(WORDS[name])
        return chance.choice(literals()) if chance.random() < 0.1 else None

    def _told_again(self, row: Fact, facts: Facts) -> Iterator[Fact]:
        """Some results come once more: through the laboratory's own feed, or under the other number of the person."""
        if self.chance.random() > 0.1:
            return
        row["order_number"] = f"order {row['observation_id']}"
        person = str(row["patient_id"]).partition("/")[2][1:]
        others = {str(each["patient_id"]) for each in facts["patient"] if str(each["patient_id"])[5:] == person}
        other = self.chance.choice(sorted(others))
        named: Fact = {name: row[name] for name in ("code", "order_number", "encounter_id")}
        source = self.chance.choice([SHIFTED.source if _is_shifted(other) else "lis", other.partition("/")[0]])
        named |= {"observation_id": f"{source}/{row['observation_id']}.again", "source": source}
        true_at: datetime = row["effective_at"]  # type: ignore[assignment]
        for again in self._versions("observation", other, named, true_at):
            yield {**again, "effective_at": true_at}

    def _otherwise(self, table: str, row: Fact) -> Fact:
        """The same fact, told otherwise after T; now and then as another patient's."""
        patient = str(row["patient_id"])
        if table not in ("patient", "patient_link") and self.chance.random() < 0.1:
            source = SHIFTED.source if _is_shifted(patient) else "ehr"
            patient = f"{source}/p{self.chance.randrange(self.shape.person_count)}"
        key, later = TABLES[table].key, self.shape.at + self._ticks(20 * DAY) + timedelta(microseconds=1)
        named = {name: row[name] for name in (key, "source", "system", "value", "encounter_id") if name in row}
        told = self._told(table, patient, named, self._lately(), later)
        if table == "encounter" and _is_shifted(patient):
            told["ended_at"] = later
        return told

    def _as_new(self, table: str, row: Fact) -> Fact:
        key = TABLES[table].key
        named = {} if table == "patient" else {key: f"{row[key]}.new"}
        return {**self._otherwise(table, row), **named, "is_retracted": False}

    def _sometime(self) -> datetime:
        return LAKE_BEGINS + self._ticks(self.shape.at + 10 * DAY - LAKE_BEGINS)

    def _lately(self) -> datetime:
        return self.shape.at - self._ticks(self.shape.lately) + self._ticks(12 * HOUR)

    def _ticks(self, most: timedelta) -> timedelta:
        return self.chance.randint(0, most // self.shape.tick) * self.shape.tick


SCALES: Sequence[tuple[float, float]] = ((0.4, 2.0), (0.4, 5.0), (5, 50), (30, 45), (50, 250))


def _ends_a_moved_stay(table: str, row: Fact) -> bool:
    """Today lies after every moved date: a stay that were left open there would last for centuries."""
    return table == "encounter" and row["ended_at"] is not None and _is_shifted(str(row["patient_id"]))


def _is_shifted(patient: str) -> bool:
    return patient.startswith(f"{SHIFTED.source}/")


def _columns(table: str) -> set[str]:
    return {column.name for column in TABLES[table].columns}
