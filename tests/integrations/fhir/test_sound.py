"""Files that look sound are read by DuckDB itself, and give what they give line by line, or are left to that."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from integrations.contract import SOURCES
from integrations.fhir.lines import LineStream
from integrations.fhir.sound import MOST_FILES
from integrations.fhir.staging import own_view, stage, stage_sound
from integrations.ingest import IngestPlaces, ingest
from integrations.lake import Lake
from integrations.limits import DEFAULT_LIMITS
from integrations.records import Records
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import write_hospital
from integrations.tables import LOAD_ORDER
from tests.integrations.fhir.mutations import KINDS, mutant

IS_SOAK = "ROUNDS_SOAK" in os.environ
TABLES, MUTANTS = (LOAD_ORDER, 40) if IS_SOAK else (("patient", "encounter", "observation"), 1)  # of each kind
RESULT: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "category": [{"coding": [{"code": "laboratory"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "2160-0"}]},
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2024-07-02T09:12:00-05:00",
    "valueQuantity": {"value": 1.5, "unit": "mg/dL", "code": "mg/dL"},
}
LINE = json.dumps(RESULT).encode()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a small hospital sends of every type of resource."""
    hospital = Hospital(patients=30, nights=0, scenario="none", seed=5)
    return write_hospital(hospital, tmp_path_factory.mktemp("hospital")).history


def line_by_line(connection: duckdb.DuckDBPyConnection, table: str, files: list[Path]) -> list[Any]:
    return sorted(connection.execute(f"from {stage(connection, table, files)}").fetchall(), key=repr)


def as_sound(connection: duckdb.DuckDBPyConnection, table: str, files: list[Path]) -> list[Any] | None:
    """The same rows, read at once; None where that is refused, before or while it reads."""
    stage(connection, table, files)
    relation = stage_sound(connection, table, files)
    if relation is None:
        return None
    try:
        return sorted(connection.execute(f"from {relation}").fetchall(), key=repr)
    except duckdb.InvalidInputException:
        return None


@pytest.mark.parametrize("table", LOAD_ORDER)
def test_what_a_hospital_sends_is_read_at_once(
    connection: duckdb.DuckDBPyConnection, history: Path, table: str
) -> None:
    files = sorted(history.glob(f"{own_view(table)['resource']}*.ndjson"))
    found = as_sound(connection, table, files)
    assert found
    assert found == line_by_line(connection, table, files)


@pytest.mark.parametrize("table", TABLES)
def test_a_mutant_is_read_as_line_by_line_or_not_at_all(
    connection: duckdb.DuckDBPyConnection, history: Path, tmp_path: Path, table: str
) -> None:
    [path, *_] = sorted(history.glob(f"{own_view(table)['resource']}*.ndjson"))
    sound, random, file, tried = (
        path.read_bytes().splitlines(),
        Random(f"1 {table}"),
        tmp_path / "sent.ndjson",
        Counter(),
    )
    for kind in KINDS:
        for number in range(MUTANTS):
            made = mutant(random, kind, json.loads(random.choice(sound)), f"m{number}")
            file.write_bytes(b"\n".join([sound[0], made, sound[-1]]) + b"\n")
            found = as_sound(connection, table, [file])
            tried["refused" if found is None else "read at once"] += 1
            assert found is None or found == line_by_line(connection, table, [file]), kind
    assert min(tried["refused"], tried["read at once"]) > 0, tried


def test_every_line_keeps_its_number_and_its_file(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("b.ndjson", "a.ndjson", "empty.ndjson", "c.ndjson")]
    for count, file in zip((5_000, 1, 0, 7_001), files, strict=True):
        lines = [json.dumps({**RESULT, "id": f"{file.stem}{number}"}) for number in range(1, count + 1)]
        file.write_text("\n".join(lines), encoding="utf-8")  # the last line has no end
    relation = (stage(connection, "observation", files), stage_sound(connection, "observation", files))[1]
    wrong = f"from {relation} where observation_id <> split_part(record_file, '.', 1) || record_line"
    assert connection.execute(f"select count(*) from ({wrong})").fetchall() == [(0,)]
    assert connection.execute(f"select count(*) from {relation}").fetchall() == [(12_002,)]


@pytest.mark.parametrize(
    "content",
    [
        LINE + b"\n\n" + LINE,
        b"\xef\xbb\xbf" + LINE,
        LINE + b"\r\n" + LINE + b"\r\n",
        b"\x0c" + LINE,
        LINE + b"\x0c",
        LINE + b" " + LINE,
        LINE + LINE,
        b"null\n" + LINE,
        b"[" + LINE + b"]",
        LINE.replace(b'"final"', b'"fin\xffal"'),
        LINE.replace(b'"final"', b'"final\x00"'),
        LINE.replace(b"1.5", b'"1.5"'),
        LINE.replace(b'"id": "o1", ', b""),
        LINE.replace(b'{"reference": "Patient/p1"}', b'"Patient/p1"'),
        LINE.replace(b"Observation", b"Patient"),
        LINE.replace(b"{", b'{"deep": ' + b"[" * 1_001 + b"]" * 1_001 + b", ", 1),
        LINE.replace(b"{", b'{"wide": "' + b"x" * (1 << 20) + b'", ', 1),
        LINE.replace(b"{", b'{"wide": [' + b"1," * 100_001 + b"1], ", 1),
    ],
)
def test_a_file_with_a_line_that_needs_care_is_not_read_at_once(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "sent.ndjson"
    file.write_bytes(content)
    assert as_sound(connection, "observation", [file]) is None


def test_a_line_beyond_the_contracts_limit_is_not_read_at_once(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    file = tmp_path / "sent.ndjson"
    file.write_bytes(LINE)
    limits = DEFAULT_LIMITS.model_copy(update={"longest_line": 100})
    stage(connection, "observation", [file])
    assert stage_sound(connection, "observation", [file], limits=limits) is None


def test_a_name_that_duckdb_would_take_for_a_pattern_is_not_read_at_once(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    file = tmp_path / "[ab]*.ndjson"
    file.write_bytes(LINE)
    (tmp_path / "a.ndjson").write_bytes(LINE)
    assert as_sound(connection, "observation", [file]) is None
    assert as_sound(connection, "observation", [tmp_path / "a.ndjson"])


def test_more_files_than_a_statement_should_name_are_not_read_at_once(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.ndjson" for number in range(MOST_FILES + 1)]
    for file in files:
        file.write_bytes(LINE)
    assert as_sound(connection, "observation", files) is None
    assert as_sound(connection, "observation", files[1:])


def test_an_ingest_reads_no_line_apart_of_files_that_are_sound(
    history: Path, home: Path, sqlite_records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, honest = [], LineStream.batches

    def batches(lines: LineStream) -> Iterator[pa.RecordBatch]:
        for batch in honest(lines):
            read.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(LineStream, "batches", batches)
    places = IngestPlaces(landing=home / "landing", lake=Lake(home / "lake", 2), sources=SOURCES, temp=home / "tmp")
    at = datetime(2024, 7, 1, 4, 45, tzinfo=UTC)
    done = ingest("demo_ehr", history, as_of=at, is_history=True, places=places, records=sqlite_records)
    assert done.accounts["observation"].mapped > 0
    assert (read, done.quarantined) == ([], {})
