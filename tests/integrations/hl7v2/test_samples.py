"""Messages of other systems: what each gives, by golden/samples.json; `python -m tests.integrations.hl7v2.test_samples`
writes it anew from ../shared.

The messages are not ours to copy: a row stands there as its segment, which columns it fills or why it does not, and a
hash of what they hold.
"""

import json
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from integrations.duck import connect
from integrations.ingest.known import open_lake
from integrations.lake import Lake
from tests.integrations.hl7v2.conftest import ALL_TABLES, Laboratory, contract

GOLDEN = Path(__file__).parent / "golden" / "samples.json"
EXPECTED: dict[str, dict[str, list[str]]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
# How these senders name their patients' authority, and words of their own for the visit.
AUTHORITIES = ("", "1", "ADT1", "BCBS", "GOOD HEALTH HOSPITAL", "WEST", "test1")
SYSTEMS = {"ORU-R01-01.hl7": "urn:oid:2.16.840.1.114222.4.3.3.5.1.2"}
WORDS = {
    "PV1-14": {"NHS Provider-General (inc.A&E-this Hosp)": "emergency_department"},
    "PV1-36": {"Admitted as Inpatient": "other"},
    "PV1-4": {"3": "urgent"},
}


def read(laboratory: Laboratory, sample: Path) -> dict[str, list[str]]:
    """What one message gives, table by table."""
    system = SYSTEMS.get(sample.name, "2.16.1")
    laboratory.contract = contract(*ALL_TABLES, authorities=AUTHORITIES, system=system, words=WORDS)
    laboratory.sends_bytes(sample.read_bytes(), sample.name)
    found = {table: [_told(row) for row in laboratory.rows(table)] for table in ALL_TABLES}
    return {table: rows for table, rows in found.items() if rows}


def _told(row: dict[str, Any]) -> str:
    """`4: birth_date, sex #5f0c2a9e41d7`, or `14: out of scope: value_type #...`; null columns are not told."""
    held = {name: value for name, value in row.items() if value not in (None, False) and name != "record_file"}
    why = held.get("out_of_scope_reason"), held.get("problem"), held.get("problem_detail")
    digest = blake2b(json.dumps(held, sort_keys=True).encode(), digest_size=6).hexdigest()
    if why[0]:
        told = f"out of scope: {why[0]}"
    elif why[1]:
        told = f"{why[1]} {why[2]}"
    else:
        told = ", ".join(name for name in held if name != "record_line")
    return f"{row['record_line']}: {told} #{digest}"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_message_of_another_system_gives_its_rows_or_a_reason(laboratory, needs_shared, name):
    assert read(laboratory, Path(needs_shared("data/hl7v2")) / name) == EXPECTED[name]


def test_every_sample_is_among_them(needs_shared):
    samples = {path.name for path in Path(needs_shared("data/hl7v2")).glob("*.hl7")}
    assert len(samples) == 64
    assert samples == EXPECTED.keys()


def _write() -> None:
    shared = Path(__file__).resolve().parents[4] / "shared" / "data" / "hl7v2"
    with tempfile.TemporaryDirectory() as folder, connect(Path(folder)) as connection:
        open_lake(connection, Lake(Path(folder) / "lake", 2), {})
        laboratory = Laboratory(Path(folder), connection)
        found = {path.name: read(laboratory, path) for path in sorted(shared.glob("*.hl7"))}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
