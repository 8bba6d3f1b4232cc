"""The bytes of what was set aside, fetched from landing by file and line once the rest is done."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet

from integrations.contract import Contract, matches
from integrations.ingest.doors import sent_records
from integrations.ingest.releases import SUPERSEDED
from integrations.sent import SentRecord

BATCH, BATCH_BYTES = 20_000, 16 << 20
HASH_SCHEMA = pa.schema([("table_name", pa.string()), ("record_hash", pa.string())])
Place = tuple[str, int]  # file, line


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the bytes of an extract can be read again."""

    extract_id: str
    kind: str
    root: Path
    files_that_are_records: tuple[str, ...] = ()  # as of the contract

    @classmethod
    def of(cls, contract: Contract, extract_id: str, root: Path) -> "Origin":
        """The origin of an extract whose files lie, readable, under `root`."""
        return cls(
            extract_id=extract_id,
            kind=contract.kind,
            root=root,
            files_that_are_records=contract.files_that_are_records,
        )

    def records(self, places: Iterable[Place]) -> Iterator[tuple[Place, SentRecord]]:
        """Read the records at these places, which are in order, one by one."""
        for file, of_file in groupby(dict.fromkeys(places), key=lambda place: place[0]):
            is_named = matches(file, self.files_that_are_records)
            numbers = {line for _, line in of_file}
            for record in sent_records(self.kind, self.root / file, numbers, is_named_by_file=is_named):
                yield (file, record.number), record

    def hashes(self, places: Iterable[Place]) -> dict[Place, str]:
        """The identity of the records at these places."""
        return {place: record.sha256 for place, record in self.records(sorted(places))}


def quarantine_rows(
    connection: duckdb.DuckDBPyConnection, origin: Origin, at: datetime
) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows, one per record and fact. What is good in a bad record is withheld for the same reason."""
    names = ["table_name", "source", "source_file", "source_line", "patient_id", "code", "fact_key"]
    names += ["issued_at", "effective_at", "released_at", "fault"]
    query = """
        with by_fact as (
            select
                table_name, source, record_file, record_line, patient_id, code, fact_key,
                min(issued_at) as issued_at, min(effective_at) as effective_at, min(released_at) as released_at,
                min(fault) as own_fault
            from aside
            where is_bad and extract_id = $extract_id
            group by table_name, source, record_file, record_line, patient_id, code, fact_key
        )
        select
            * exclude (own_fault),
            coalesce(own_fault, min(own_fault) over (partition by table_name, record_file, record_line))
        from by_fact
        order by record_file, record_line, table_name, code, fact_key
    """
    for batch in _batches(connection, query, origin):
        records = origin.records([(row[2], row[3]) for row in batch])
        rows: list[dict[str, Any]] = []
        place, size = None, 0
        for row in batch:
            values = dict(zip(names, row, strict=True))
            reason, _, detail = values.pop("fault").partition(" ")
            if place != (row[2], row[3]):
                if size > BATCH_BYTES:
                    yield rows
                    rows, size = [], 0
                place, found = next(records)
                size += len(found.head)
            rows.append(
                {
                    **values,
                    "released_by": SUPERSEDED if values["released_at"] else None,
                    "extract_id": origin.extract_id,
                    "reason": reason,
                    "detail": detail,
                    "record_hash": found.sha256,
                    "bytes": found.head,
                    "quarantined_at": at,
                }
            )
        yield rows


def waiting_rows(connection: duckdb.DuckDBPyConnection, origin: Origin, at: datetime) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows, one per record that waits: for its patient first, then for its stay."""
    names = ("table_name", "source", "source_file", "source_line", "waits_for_table", "waits_for")
    query = """
        select
            table_name, source, record_file, record_line,
            arg_min(waits_for_table, waits_for_table = 'encounter'), arg_min(waits_for, waits_for_table = 'encounter')
        from aside
        where not is_bad and waits_for is not null and extract_id = $extract_id
        group by table_name, source, record_file, record_line
        order by record_file, record_line, table_name
    """
    for batch in _batches(connection, query, origin):
        hashes = origin.hashes((row[2], row[3]) for row in batch)
        yield [
            {
                **dict(zip(names, row, strict=True)),
                "extract_id": origin.extract_id,
                "record_hash": hashes[row[2], row[3]],
                "since": at,
            }
            for row in batch
        ]


def keep_hashes(connection: duckdb.DuckDBPyConnection, origin: Origin, file: Path) -> None:
    """Keep which records were out of scope: one that is sent again is not another record."""
    query = "select table_name, record_file, record_line from left_out where $extract_id <> '' order by all"
    temporary = file.with_name(f".{file.name}")
    with pyarrow.parquet.ParquetWriter(temporary, HASH_SCHEMA) as writer:
        for batch in _batches(connection, query, origin):
            hashes = origin.hashes((row[1], row[2]) for row in batch)
            found = [hashes[row[1], row[2]] for row in batch]
            writer.write_table(pa.table([[row[0] for row in batch], found], schema=HASH_SCHEMA))
    temporary.chmod(0o600)
    temporary.rename(file)


def _batches(connection: duckdb.DuckDBPyConnection, query: str, origin: Origin) -> Iterator[list[tuple[Any, ...]]]:
    cursor = connection.cursor().execute(query, {"extract_id": origin.extract_id})
    while batch := cursor.fetchmany(BATCH):
        yield batch
