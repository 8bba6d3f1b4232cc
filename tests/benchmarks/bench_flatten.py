"""What it costs to flatten laboratory results from NDJSON to the canonical table, beside SQL written by hand.

By hand, three ways, from the most to the least that it does:
- kept: the canonical rows to Parquet by bucket, with the number and the bytes of lines that are no JSON;
- trusted: the same rows out of read_json with explicit columns; every line is taken for sound;
- plain: ten columns as sent, out of read_json with explicit columns, to one file: no code, limit, bucket or account.
Ours is the real ingest: a landed extract, views, the contract, quarantine, account, one commit.
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
from functools import partial
from pathlib import Path
from statistics import median

from integrations.duck import connect, quoted
from integrations.fhir.staging import stage
from integrations.ingest import IngestPlaces, ingest
from integrations.lake import Lake
from integrations.records import open_records
from integrations.settings import CHECKOUT
from tests.benchmarks.row import Row, peak_mb

COUNT, RUNS, PATIENTS, STAYS = 300_000, 5, 5_000, 20_000
SIZES = {"once": COUNT, "twice": 2 * COUNT, "five_times": 5 * COUNT}
NIGHTS = [datetime(2024, 7, night, tzinfo=UTC) for night in (3, 4, 5)]
HERE = Path(__file__).parent
# By hand: how, what is to be beaten, and how much of it ours must reach.
BY_HAND = {
    "kept": ("by hand with refused lines", None),
    "trusted": ("by hand", 0.6),
    "plain": ("plain read_json of ten columns", None),
}


def rows() -> Iterator[Row]:
    """Yield the rows of this bench: the whole way beside each way by hand, its first half, and what memory it takes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for size, count in {"small": 1, **SIZES}.items():
            write_lines(home / size, count=count)
        # In turns, so that a machine that is slow for a while is slow for all of them.
        spent = [{way: _measured(way, home, "once") for way in WAYS} for _ in range(RUNS)]
        seconds = {way: median(run[way]["cpu_s"] for run in spent) for way in WAYS}
        for way in BY_HAND:
            yield _ratio("NDJSON to canonical table", "ingested", way, seconds)
        yield _ratio("NDJSON to staged rows in Parquet", "staged", "trusted", seconds, is_bound=False)
        yield from _memory({"once": max(run["ingested"]["peak_mb"] for run in spent)}, home)


def _ratio(what: str, ours: str, theirs: str, seconds: dict[str, float], *, is_bound: bool = True) -> Row:
    name, bound = BY_HAND[theirs]
    return Row(
        what=f"{what} / {name}",
        figure=seconds[theirs] / seconds[ours],
        unit="x per CPU s",
        bound=bound if is_bound else None,
        detail=f"{COUNT / seconds[ours]:,.0f} and {COUNT / seconds[theirs]:,.0f} resources per CPU s",
    )


def _memory(peaks: dict[str, float], home: Path) -> Iterator[Row]:
    """Yield the peak of each size, and how far apart they lie: 1.2 is 10 % to both sides of the middle."""
    for size, count in SIZES.items():
        if size not in peaks:
            peaks[size] = _measured("ingested", home, size)["peak_mb"]
        yield Row(
            what=f"peak memory of {count:,} results", figure=peaks[size], unit="MB", bound=600, is_bound="at most"
        )
    apart = max(peaks.values()) / min(peaks.values())
    yield Row(what="peak memory, the most / the least of these", figure=apart, unit="x", bound=1.2, is_bound="at most")


def _measured(way: str, home: Path, size: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_flatten", way, str(home), size]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_lines(folder: Path, *, count: int) -> None:
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


def _by_hand(way: str, home: Path, size: str, scratch: Path) -> float:
    with connect(scratch) as connection:
        codes = quoted(CHECKOUT / "integrations" / "sources" / "demo_ehr" / "codes.csv")
        limits = quoted(CHECKOUT / "integrations" / "analytes.csv")
        connection.execute(f"create table codes as from read_csv({codes}, all_varchar = true)")
        connection.execute(f"create table analytes as from read_csv({limits})")
        for extract in ("small", size):
            begin = _cpu_s()
            query = _hand_written(way).replace("$file", quoted(home / extract / "Observation.ndjson"))
            to = "format parquet" if way == "plain" else "format parquet, partition_by (bucket)"
            connection.execute(f"copy ({query}) to {quoted(scratch / extract)} ({to})")
    return _cpu_s() - begin


def _hand_written(way: str) -> str:
    if way == "plain":
        return _sql("flatten_plain")
    canonical = _sql("flatten_by_hand")
    if way == "kept":
        canonical = canonical.replace("    source_line,\n", "    source_line,\n    refused_line,\n")
    return f"with sent as (\n{_sql(f'flatten_sent_{way}')})\n{canonical}"


def _sql(name: str) -> str:
    return (HERE / f"{name}.sql").read_text(encoding="utf-8")


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


WAYS = {"staged": _staged, "ingested": _ingested, **{way: partial(_by_hand, way) for way in BY_HAND}}


def main(way: str, home: Path, size: str) -> None:
    """Run one way once and print what it took."""
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        spent = WAYS[way](home, size, Path(scratch))
    sys.stdout.write(json.dumps({"cpu_s": spent, "peak_mb": peak_mb()}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
