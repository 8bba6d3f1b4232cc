"""What it costs to flatten laboratory results from NDJSON to the canonical table, beside SQL written by hand.

By hand: read_json with explicit columns, one row per resource as the canonical table has it, to Parquet by bucket. It
trusts every line. Ours is the real ingest: a landed extract, views, the contract, quarantine, account, one commit.
Each runs in a process of its own, after a small extract that pays for imports and first use.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from integrations.duck import connect, quoted
from integrations.fhir.staging import stage
from integrations.ingest import IngestPlaces, ingest
from integrations.lake import Lake
from integrations.records import open_records
from integrations.settings import CHECKOUT
from tests.benchmarks.row import Row

COUNT, RUNS, PATIENTS, STAYS = 300_000, 3, 5_000, 20_000
NIGHTS = [datetime(2024, 7, night, tzinfo=UTC) for night in (3, 4, 5)]
BY_HAND = (Path(__file__).parent / "flatten_by_hand.sql").read_text(encoding="utf-8")


def rows() -> Iterator[Row]:
    """Yield the rows of this bench: the whole way, its first half, and what memory it takes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _write_lines(home / "small", count=1)
        _write_lines(home / "once", count=COUNT)
        spent = {way: [_measured(way, home, "once") for _ in range(RUNS)] for way in ("by_hand", "staged", "ingested")}
        seconds = {way: median(run["cpu_s"] for run in runs) for way, runs in spent.items()}
        yield _ratio("NDJSON to canonical table", "ingested", seconds, bound=0.6)
        yield _ratio("NDJSON to staged rows in Parquet", "staged", seconds, bound=None)
        once = max(run["peak_mb"] for run in spent["ingested"])
        yield Row(what=f"peak memory of {COUNT:,} results", figure=once, unit="MB", bound=600, is_bound="at most")
        _write_lines(home / "twice", count=2 * COUNT)
        twice = _measured("ingested", home, "twice")["peak_mb"]
        yield Row(what="peak memory of twice as many", figure=twice, unit="MB", bound=600, is_bound="at most")


def _ratio(what: str, way: str, seconds: dict[str, float], bound: float | None) -> Row:
    return Row(
        what=f"{COUNT:,} lab results, {what} / by hand",
        figure=seconds["by_hand"] / seconds[way],
        unit="x per CPU s",
        bound=bound,
        detail=f"{COUNT / seconds[way]:,.0f} and {COUNT / seconds['by_hand']:,.0f} resources per CPU s",
    )


def _measured(way: str, home: Path, size: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_flatten", way, str(home), size]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _write_lines(folder: Path, *, count: int) -> None:
    """Write an extract of results, about 780 bytes each, and beside it the patients and stays that they refer to."""
    folder.mkdir()
    chance = random.Random(1)
    with (folder / "Observation.ndjson").open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps(_result(number, round(chance.uniform(0.5, 3), 2)), separators=(",", ":")) + "\n")


def _result(number: int, value: float) -> dict[str, object]:
    loinc = {"system": "http://loinc.org", "code": "2160-0", "display": "Creatinine [Mass/volume] in Serum or Plasma"}
    category = {
        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
        "code": "laboratory",
        "display": "Laboratory",
    }
    return {
        "resourceType": "Observation",
        "id": f"o{number:08d}",
        "meta": {"versionId": "1", "lastUpdated": "2024-07-02T10:12:00.000-05:00"},
        "status": "final",
        "category": [{"coding": [category]}],
        "code": {"coding": [loinc], "text": "Creatinine"},
        "subject": {"reference": f"Patient/p{number % PATIENTS:07d}"},
        "encounter": {"reference": f"Encounter/e{number % STAYS:07d}"},
        "effectiveDateTime": "2024-07-02T09:12:00-05:00",
        "issued": "2024-07-02T10:12:00.000-05:00",
        "valueQuantity": {"value": value, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
        "referenceRange": [{"low": {"value": 0.6, "unit": "mg/dL"}, "high": {"value": 1.2, "unit": "mg/dL"}}],
    }


def _write_patients(folder: Path) -> None:
    folder.mkdir()
    patients = [{"resourceType": "Patient", "id": f"p{number:07d}"} for number in range(PATIENTS)]
    stays = [
        {
            "resourceType": "Encounter",
            "id": f"e{number:07d}",
            "status": "in-progress",
            "class": {"code": "IMP"},
            "subject": {"reference": f"Patient/p{number % PATIENTS:07d}"},
            "period": {"start": "2024-07-01T08:00:00-05:00"},
        }
        for number in range(STAYS)
    ]
    for name, resources in (("Patient", patients), ("Encounter", stays)):
        (folder / f"{name}.ndjson").write_text("".join(json.dumps(one) + "\n" for one in resources), encoding="utf-8")


def _by_hand(home: Path, size: str, scratch: Path) -> float:
    with connect(scratch) as connection:
        codes = quoted(CHECKOUT / "integrations" / "sources" / "demo_ehr" / "codes.csv")
        limits = quoted(CHECKOUT / "integrations" / "analytes.csv")
        connection.execute(f"create table codes as from read_csv({codes}, all_varchar = true)")
        connection.execute(f"create table analytes as from read_csv({limits})")
        for extract in ("small", size):
            begin = _cpu_s()
            file = quoted(home / extract / "Observation.ndjson")
            to = f"{quoted(scratch / extract)} (format parquet, partition_by (bucket))"
            connection.execute(f"copy ({BY_HAND.replace('$file', file)}) to {to}")
    return _cpu_s() - begin


def _staged(home: Path, size: str, scratch: Path) -> float:
    with connect(scratch) as connection:
        for extract in ("small", size):
            begin = _cpu_s()
            name = stage(connection, "observation", [home / extract / "Observation.ndjson"])
            connection.execute(f"copy (from {name}) to {quoted(scratch / extract)} (format parquet)")
    return _cpu_s() - begin


def _ingested(home: Path, size: str, scratch: Path) -> float:
    """From the landed file to the table's commit: what comes before (copy and checksum) is not flattening."""
    _write_patients(scratch / "patients")
    places = IngestPlaces(
        landing=scratch / "landing",
        lake=Lake(scratch / "lake", 8),
        sources=CHECKOUT / "integrations" / "sources",
        temp=scratch / "temp",
    )
    records = open_records(f"sqlite:///{scratch / 'records.db'}")
    begun: dict[str, float] = {}

    def note(table: str, number: int, total: int) -> None:
        begun[table] = _cpu_s()

    for extract, as_of in zip((scratch / "patients", home / "small", home / size), NIGHTS, strict=True):
        ingest("demo_ehr", extract, as_of=as_of, is_history=False, places=places, records=records, progress=note)
    records.close()
    return begun["medication"] - begun["observation"]


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(way: str, home: Path, size: str) -> None:
    """Run one way once and print what it took."""
    ways = {"by_hand": _by_hand, "staged": _staged, "ingested": _ingested}
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        spent = ways[way](home, size, Path(scratch))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"cpu_s": spent, "peak_mb": peak_mb}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
