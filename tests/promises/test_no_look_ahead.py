"""What was known at T decides: another future after T leaves cohort and features at T as they were, byte by byte."""

import dataclasses
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from features.definitions import View, view, view_names
from features.parquet_files import view_rows
from integrations.duck import connect
from integrations.snapshot import Feed
from models.cases import SITE, open_facts
from models.catalog import use_case, use_case_names
from models.cohort import cohort, eligible

Fact = dict[str, object]
Facts = dict[str, list[Fact]]
Futures = tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]
T = datetime(2024, 2, 15, 18, tzinfo=UTC)
BEGIN = datetime(2023, 9, 1, tzinfo=UTC)
LOINC = sorted({code for name in view_names() for code in view(name).codes})
FEEDS = [Feed(source="ehr", site_id=SITE, time_zone="America/Chicago", lateness=timedelta(hours=24))]


@pytest.fixture(scope="module", params=[1, 2])
def futures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Futures]:
    """One hospital, and the same one with another future: some of it gone, other values and new facts after T."""
    chance = random.Random(request.param)
    facts = _hospital(chance)
    opened = []
    for each in (facts, _with_another_future(chance, facts)):
        folder = tmp_path_factory.mktemp("future")
        connection = connect(folder / "tmp", threads=1)
        open_facts(connection, each, FEEDS, folder)
        opened.append(connection)
    yield opened[0], opened[1]
    for connection in opened:
        connection.close()


@pytest.mark.parametrize("name", use_case_names())
def test_the_cohort_at_a_time_does_not_know_what_came_later(name: str, futures: Futures) -> None:
    first, second = (cohort(future, use_case(name), T) for future in futures)
    assert first.num_rows > 20
    assert _bytes(first) == _bytes(second)


@pytest.mark.parametrize("name", view_names())
def test_the_features_of_a_time_do_not_know_what_came_later(name: str, spine: pa.Table, futures: Futures) -> None:
    first, second = (_rows(view(name), spine, future) for future in futures)
    assert first.num_rows > 100
    assert _bytes(first) == _bytes(second)


@pytest.mark.parametrize("name", view_names())
def test_a_view_that_forgets_when_a_fact_became_available_is_caught(
    name: str, spine: pa.Table, futures: Futures
) -> None:
    honest = view(name)
    alias = {"patient_demographics": "patient", "encounter_history": "e", "comorbidity": "c"}.get(name, "o")
    leaking = dataclasses.replace(honest, sql=_without_availability(honest.sql, alias))
    first, second = (_rows(leaking, spine, future) for future in futures)
    assert _bytes(first) != _bytes(second)


@pytest.fixture(scope="module")
def spine(futures: Futures) -> pa.Table:
    """Every stay and time of the cohorts up to T, once."""
    rows = pa.concat_tables([eligible(cohort(futures[0], use_case(name), T)) for name in use_case_names()])
    return rows.group_by(["site_id", "patient_id", "encounter_id", "prediction_time"]).aggregate([])


def _rows(each: View, spine: pa.Table, future: duckdb.DuckDBPyConnection) -> pa.Table:
    by_key = [("encounter_id", "ascending"), ("prediction_time", "ascending")]
    return view_rows(future, each, spine).sort_by(by_key)


def _bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def _without_availability(sql: str, alias: str) -> str:
    lines = [line for line in sql.splitlines() if not line.strip().startswith(f"and {alias}.available_at <=")]
    return "\n".join(line for line in lines if f"< {alias}.superseded_at" not in line)


def _hospital(chance: random.Random) -> Facts:
    """40 persons, some under two numbers, with stays, results, corrections, withdrawals and diagnoses around T."""
    facts: Facts = {
        name: [] for name in ("patient", "patient_link", "encounter", "observation", "condition", "procedure")
    }
    for number in range(40):
        for patient in (f"ehr/p{number}", f"ehr/q{number}")[: 1 + (number % 4 == 0)]:
            birth = {"birth_date": date(1940 + number, 3, 1), "sex": chance.choice(["female", "male"])}
            facts["patient"].append(_fact(patient, "patient", BEGIN, **birth))
            link = {"link_id": f"{patient}#mrn", "system": "mrn", "value": str(number)}
            facts["patient_link"].append(_fact(patient, "link", _after(chance, BEGIN, 200), **link))
            for stay in range(chance.randint(1, 4)):
                facts["encounter"] += _stay(chance, patient, stay)
            for result in range(chance.randint(20, 60)):
                facts["observation"] += _result(chance, patient, result)
            for diagnosis in range(chance.randint(0, 6)):
                facts["condition"].append(_diagnosis(chance, patient, diagnosis))
    return facts


def _stay(chance: random.Random, patient: str, number: int) -> Iterator[Fact]:
    started_at = _after(chance, BEGIN, 170)
    ended_at = started_at + timedelta(hours=chance.randint(4, 400))
    same: Fact = {
        "encounter_id": f"{patient}.e{number}",
        "class": chance.choice(["inpatient", "inpatient", "emergency", "observation"]),
        "admission_type": chance.choice(["emergency", "elective", None]),
        "started_at": started_at,
        "effective_at": started_at,
    }
    yield _fact(patient, "admitted", started_at + timedelta(hours=chance.randint(0, 3)), **same)
    yield _fact(
        patient,
        "ended",
        ended_at + timedelta(hours=chance.randint(0, 9)),
        **same,
        ended_at=ended_at,
        discharge_disposition="home",
    )


def _result(chance: random.Random, patient: str, number: int) -> Iterator[Fact]:
    collected_at = _after(chance, BEGIN, 170) if chance.random() < 0.5 else _after(chance, T - timedelta(days=4), 4)
    issued_at = collected_at + timedelta(hours=chance.choice([1, 2, 30, 500]))
    same: Fact = {
        "observation_id": f"{patient}.o{number}",
        "code": chance.choice([*LOINC, *["2160-0"] * 8]),
        "status": "final",
        "is_extreme": False,
        "effective_at": collected_at,
    }
    yield _fact(patient, "result", issued_at, **same, value_number=round(chance.uniform(0.5, 5.0), 1))
    if chance.random() < 0.2:
        corrected = {**same, "value_number": round(chance.uniform(0.5, 5.0), 1)}
        yield _fact(patient, "correction", issued_at + timedelta(hours=chance.randint(1, 400)), **corrected)
    if chance.random() < 0.1:
        withdrawn = {**same, "is_retracted": True}
        yield _fact(patient, "withdrawal", issued_at + timedelta(hours=chance.randint(401, 800)), **withdrawn)


def _diagnosis(chance: random.Random, patient: str, number: int) -> Fact:
    code = {"code_system": "icd-10-cm", "code": chance.choice(["I509", "E119", "C780", "N186", "I10", "J449"])}
    same = {"condition_id": f"{patient}.c{number}", "kind": "billing", **code}
    return _fact(patient, "diagnosis", _after(chance, BEGIN, 200), **same)


def _with_another_future(chance: random.Random, facts: Facts) -> Facts:
    """What became available after T is dropped, changed or joined by more; the rest stays, in another order."""
    changed: Facts = {}
    for table, rows in facts.items():
        past = [row for row in rows if row["available_at"] <= T]  # type: ignore[operator]
        future = [_changed(chance, row) for row in rows if row not in past and chance.random() < 0.5]
        news = [
            _changed(chance, {**row, "available_at": _after(chance, T, 20)})
            for row in chance.sample(past, len(past) // 3)
        ]
        changed[table] = chance.sample([*past, *future, *news], len(past) + len(future) + len(news))
    return changed


def _changed(chance: random.Random, row: Fact) -> Fact:
    values: Fact = {
        "value_number": round(chance.uniform(0.1, 20.0), 1),
        "birth_date": date(2015, 1, 1),
        "ended_at": T + timedelta(days=3),
        "discharge_disposition": "died",
        "code": chance.choice([str(row.get("code")), "N186"]),
        "value": "another",
        "effective_at": row.get("effective_at") or BEGIN,
    }
    return {**row, **{name: value for name, value in values.items() if name in row}}


def _fact(patient: str, file: str, available_at: datetime, **columns: object) -> Fact:
    return {
        "source": "ehr",
        "site_id": SITE,
        "patient_id": patient,
        "available_at": available_at,
        "is_available_at_inferred": False,
        "is_retracted": False,
        "extract_id": f"{available_at:%Y%m%dT%H%M}",
        "source_file": file,
        "source_line": 1,
        **columns,
    }


def _after(chance: random.Random, start: datetime, days: int) -> datetime:
    return start + timedelta(minutes=chance.randint(1, days * 24 * 60))
