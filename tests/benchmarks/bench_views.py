"""What a view of ten columns costs, beside the ways in which it is done in Python.

Each reads the same NDJSON of laboratory results and writes the same ten columns to Parquet, in a process of its own;
those that would take minutes are given fewer lines. `fhir_resources` checks each resource against the whole of FHIR;
`sqlonfhir` runs the very view that ours runs. `by_hand` is SQL that also keeps the number of each line and the bytes of
those that are no JSON; beside it stands our view as the doors run it, which says of each line what is wrong with it.
"""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from integrations.duck import connect, quoted
from integrations.fhir.lines import LineStream
from integrations.fhir.sql_on_fhir import compile_view
from integrations.fhir.sql_on_fhir.macros import define_macros, define_misfit
from tests.benchmarks.bench_flatten import write_lines
from tests.benchmarks.row import Row

COUNTS = {
    "compiled": 300_000,
    "checked": 300_000,
    "by_hand": 300_000,
    "orjson": 100_000,
    "fhir_resources": 6_000,
    "sqlonfhir": 4_000,
}
RUNS = 5
NAMES = {
    "by_hand": "SQL by hand with line number and refused lines",
    "orjson": "orjson by hand",
    "fhir_resources": "fhir.resources",
    "sqlonfhir": "sqlonfhir",
}
PATHS = {
    "id": "id",
    "status": "status",
    "category": "category.first().coding.first().code",
    "local_system": "code.coding.first().system",
    "local_code": "code.coding.first().code",
    "patient": "subject.reference",
    "encounter": "encounter.reference",
    "effective_at": "effective.ofType(dateTime)",
    "issued_at": "issued",
    "value_number": "value.ofType(Quantity).value",
}
HAND_WRITTEN = Path(__file__).parent / "view_by_hand.sql"
VIEW = {
    "resourceType": "ViewDefinition",
    "resource": "Observation",
    "status": "active",
    "select": [{"column": [{"name": name, "path": path} for name, path in PATHS.items()]}],
}


def rows() -> Iterator[Row]:
    """Yield the compiled view beside each peer, in resources per CPU second."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for way, count in {"small": 1, **COUNTS}.items():
            write_lines(home / way, count=count)
        # In turns, so that a machine that is slow for a while is slow for all of them.
        spent = [{way: _measured(way, home) for way in COUNTS} for _ in range(RUNS)]
    rates = {way: COUNTS[way] / median(run[way] for run in spent) for way in COUNTS}
    yield _ratio("checked view of ten columns to Parquet", "checked", "by_hand", rates, bound=0.75)
    for way in ("orjson", "fhir_resources", "sqlonfhir"):
        yield _ratio("view of ten columns to Parquet", "compiled", way, rates, bound=1.0)


def _ratio(what: str, ours: str, theirs: str, rates: dict[str, float], *, bound: float) -> Row:
    return Row(
        what=f"{what} / {NAMES[theirs]}",
        figure=rates[ours] / rates[theirs],
        unit="x per CPU s",
        bound=bound,
        detail=f"{rates[ours]:,.0f} and {rates[theirs]:,.0f} resources per CPU s",
    )


def _measured(way: str, home: Path) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.bench_views", way, str(home)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def _compiled(file: Path, out: Path) -> None:
    with connect(out.parent) as connection:
        define_macros(connection)
        connection.register("line", LineStream([(file.name, file)]))
        connection.execute(f"copy ({compile_view(VIEW).sql}) to {quoted(out)} (format parquet)")


def _checked(file: Path, out: Path) -> None:
    with connect(out.parent) as connection:
        define_macros(connection)
        define_misfit(connection)
        compiled = compile_view(VIEW, is_checked=True)
        connection.register("line", LineStream([(file.name, file)], compiled.elements))
        connection.execute(f"copy ({compiled.sql}) to {quoted(out)} (format parquet)")


def _by_hand(file: Path, out: Path) -> None:
    with connect(out.parent) as connection:
        query = HAND_WRITTEN.read_text(encoding="utf-8").replace("$file", quoted(file))
        connection.execute(f"copy ({query}) to {quoted(out)} (format parquet)")


def _by_rows(flatten: Callable[[Iterable[bytes]], Iterable[dict[str, Any]]]) -> Callable[[Path, Path], None]:
    def run(file: Path, out: Path) -> None:
        with file.open("rb") as lines:
            pq.write_table(pa.Table.from_pylist(list(flatten(lines))), out)

    return run


def _orjson(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        one = orjson.loads(line)
        yield {
            "id": one["id"],
            "status": one["status"],
            "category": one["category"][0]["coding"][0]["code"],
            "local_system": one["code"]["coding"][0]["system"],
            "local_code": one["code"]["coding"][0]["code"],
            "patient": one["subject"]["reference"],
            "encounter": one["encounter"]["reference"],
            "effective_at": one["effectiveDateTime"],
            "issued_at": one["issued"],
            "value_number": one["valueQuantity"]["value"],
        }


def _fhir_resources(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    from fhir.resources.R4B.observation import Observation

    for line in lines:
        one = Observation.model_validate_json(line)
        yield {
            "id": one.id,
            "status": one.status,
            "category": one.category[0].coding[0].code,
            "local_system": one.code.coding[0].system,
            "local_code": one.code.coding[0].code,
            "patient": one.subject.reference,
            "encounter": one.encounter.reference,
            "effective_at": one.effectiveDateTime,
            "issued_at": one.issued,
            "value_number": one.valueQuantity.value,
        }


def _sqlonfhir(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    from sqlonfhir import evaluate

    found: list[dict[str, Any]] = evaluate([orjson.loads(line) for line in lines], VIEW)
    return found


WAYS = {
    "compiled": _compiled,
    "checked": _checked,
    "by_hand": _by_hand,
    "orjson": _by_rows(_orjson),
    "fhir_resources": _by_rows(_fhir_resources),
    "sqlonfhir": _by_rows(_sqlonfhir),
}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(way: str, home: Path) -> None:
    """Run one way, after a line that pays for imports and first use, and print what it took."""
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        for size in ("small", way):
            begin = _cpu_s()
            WAYS[way](home / size / "Observation.ndjson", Path(scratch) / f"{size}.parquet")
        spent = _cpu_s() - begin
        rows_out = pq.read_metadata(Path(scratch) / f"{way}.parquet").num_rows
    if rows_out != COUNTS[way]:
        raise SystemExit(f"{way}: {rows_out} rows of {COUNTS[way]}")
    sys.stdout.write(json.dumps(spent) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
