"""`rounds view`: a ViewDefinition over files of resources, its rows written as NDJSON, CSV or Parquet."""

import csv
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast
from uuid import uuid4

import orjson
import pyarrow as pa

from integrations.errors import EnvironmentFault, WrongUsage
from integrations.fhir.lines import SCHEMA, LineStream
from integrations.fhir.sql_on_fhir.compiler import CompiledView, compile_view
from integrations.fhir.sql_on_fhir.elements import NUMBERS
from integrations.fhir.sql_on_fhir.errors import InvalidView
from integrations.fhir.sql_on_fhir.runner import Row, digits, view_batches
from integrations.fhir.sql_on_fhir.selection import Column
from integrations.limits import DEFAULT_LIMITS
from integrations.sent import BOM

FORMATS = ("ndjson", "csv", "parquet")


@dataclass(frozen=True)
class ViewRun:
    """What came out: rows, and by file the lines that are no resource, with the first of them."""

    rows: int
    unread: dict[str, tuple[int, int]]


def read_view(path: Path) -> CompiledView:
    """Compile the ViewDefinition in a file. Raises InvalidView."""
    try:
        view = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidView(f"{path} is no JSON: {error}", path="") from None
    if not isinstance(view, dict):
        raise InvalidView(f"{path} holds no ViewDefinition", path="")
    return compile_view(view)


def write_view(view: CompiledView, files: Sequence[Path], file_format: str, out: Path | None) -> ViewRun:
    """Write the rows of a view over NDJSON or Bundle files to a file, or without one to standard output.

    The file has its name once it is whole. Raises WrongUsage for a format that cannot be had, InvalidView where the
    view meets more values than one.
    """
    if file_format not in FORMATS:
        raise WrongUsage(f"{file_format} is no format", where="--format", to_do=f"one of {', '.join(FORMATS)}")
    if file_format == "parquet" and out is None:
        raise WrongUsage("Parquet is no text to print", where="--format parquet", to_do="name a file with --out")
    count, unread, first = 0, Counter[str](), dict[str, int]()
    with _sink(out) as file, WRITERS[file_format](file, view.columns) as write:
        for rows, places in view_batches(view, _Resources(files)):
            write(rows)
            count += len(rows)
            for name, line in places:
                unread[name] += 1
                first[name] = min(line, first.get(name, line))
    return ViewRun(count, {name: (unread[name], first[name]) for name in unread})


@dataclass(frozen=True)
class _Resources:
    """The resources of files as lines: those of NDJSON as they stand, the entries of a Bundle one by one."""

    files: Sequence[Path]

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(SCHEMA, self.batches()).__arrow_c_stream__(requested_schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        for path in self.files:
            document = _document(path)
            if document is None:
                yield from LineStream([(str(path), path)]).batches()
                continue
            resources = document if isinstance(document, list) else [document]
            texts = pa.array([_text(resource) for resource in resources], pa.string())
            lines = list(range(1, len(texts) + 1))
            names, is_beyond = pa.repeat(str(path), len(texts)), pa.repeat(False, len(texts))
            yield pa.record_batch([names, pa.array(lines, pa.int64()), texts, is_beyond], schema=SCHEMA)


def _text(resource: object) -> str | None:
    """The resource as a line; None where its text is none that a line can hold."""
    try:
        return orjson.dumps(resource, default=digits).decode()
    except (TypeError, orjson.JSONEncodeError):
        return None


def _document(path: Path) -> dict[str, Any] | list[object] | None:
    """The resource that is the whole file, or those of the Bundle that is; None for NDJSON."""
    with path.open("rb") as file:
        head = file.readline(DEFAULT_LIMITS.longest_line).removeprefix(BOM).strip()
    try:
        if orjson.loads(head).get("resourceType") != "Bundle":
            return None
    except (orjson.JSONDecodeError, AttributeError):
        if not head.startswith(b"{"):
            return None
    try:
        document = json.loads(path.read_bytes(), parse_float=Decimal)
    except (ValueError, RecursionError):
        return None  # several lines, some of them bad: they are accounted for one by one
    entries = document.get("entry", []) if document.get("resourceType") == "Bundle" else None
    if entries is None:
        return dict(document)
    if not isinstance(entries, list):
        return [None]  # no Bundle: said as one resource that cannot be read
    return [entry["resource"] if isinstance(entry, dict) else None for entry in entries if _has_resource(entry)]


def _has_resource(entry: object) -> bool:
    """A request or a response alone is legal; what is no entry at all is kept, to be said."""
    return not isinstance(entry, dict) or "resource" in entry


@contextmanager
def _sink(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer if hasattr(sys.stdout, "buffer") else cast(IO[bytes], _Text(sys.stdout))
        return
    part = out.parent / f".{uuid4().hex}.part"
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.rename(out)
    except OSError as error:
        raise EnvironmentFault(error.strerror or "cannot write", where=str(out)) from None
    finally:
        part.unlink(missing_ok=True)


class _Text(io.RawIOBase):
    """Bytes into a standard output that takes only text."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, data: Any) -> int:
        return self.stream.write(bytes(data).decode())

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)


@contextmanager
def _ndjson(file: IO[bytes], _: Sequence[Column]) -> Iterator[Callable[[list[Row]], None]]:
    yield lambda rows: file.writelines(
        orjson.dumps(row, default=digits, option=orjson.OPT_APPEND_NEWLINE) for row in rows
    )


@contextmanager
def _csv(file: IO[bytes], columns: Sequence[Column]) -> Iterator[Callable[[list[Row]], None]]:
    def write(rows: list[Row]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_cell(value) for value in row.values()] for row in rows)
        file.write(text.getvalue().encode())

    file.write((",".join(column.name for column in columns) + "\n").encode())
    yield write


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return orjson.dumps(value, default=digits).decode() if isinstance(value, list) else value


@contextmanager
def _parquet(file: IO[bytes], columns: Sequence[Column]) -> Iterator[Callable[[list[Row]], None]]:
    import pyarrow.parquet as pq

    schema = pa.schema([(column.name, _arrow_type(column)) for column in columns])
    with pq.ParquetWriter(file, schema) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist([_plain(row) for row in rows], schema=schema))


def _arrow_type(column: Column) -> pa.DataType:
    one = {"boolean": pa.bool_(), "decimal": pa.float64()}.get(column.type)
    one = one or (pa.int64() if column.type in NUMBERS else pa.string())
    return pa.list_(one) if column.is_list else one


def _plain(row: Row) -> Row:
    return {name: _float(value) for name, value in row.items()}


def _float(value: Any) -> Any:
    if isinstance(value, list):
        return [_float(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


WRITERS = {"ndjson": _ndjson, "csv": _csv, "parquet": _parquet}
