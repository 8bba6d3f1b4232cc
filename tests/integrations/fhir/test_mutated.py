"""Thousands of resources that are not quite what they should be go through a whole ingest: nothing stops it, nothing
is lost, each table's account balances, and what is sound beside them is taken."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from sqlalchemy import select

from integrations.contract import SOURCES
from integrations.duck import connect
from integrations.errors import NotInOrder
from integrations.fhir.lines import LineStream
from integrations.fhir.staging import own_view
from integrations.ingest import IngestPlaces, IngestResult, ingest, ledger, set_aside
from integrations.lake import Lake
from integrations.records import Records
from integrations.records.schema import quarantine, waiting
from integrations.sent import SentRecord
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import HospitalFiles, write_hospital
from integrations.tables import LOAD_ORDER, TABLES
from tests.integrations.fhir.mutations import KINDS, mutant

IS_SOAK = "ROUNDS_SOAK" in os.environ
MUTANTS = 20_000 if IS_SOAK else 1_000  # of each type of resource, and so of each view
FEW = 54  # two of each kind
MOST_CONTROLS = 40
RESOURCE_OF = {table: own_view(table)["resource"] for table in LOAD_ORDER}


@dataclass
class Sent:
    """An extract: the lines of each file, the kind of mutation by its place, and how many mutants there are."""

    folder: Path
    taken_at: datetime
    lines: dict[str, list[bytes]]
    kinds: dict[tuple[str, int], str]
    controls: dict[str, list[str]]
    tried: Counter[str]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> HospitalFiles:
    """A small hospital that sends every type of resource: what is mutated, and what is sound beside it."""
    return write_hospital(Hospital(patients=40, nights=0, scenario="none", seed=3), tmp_path_factory.mktemp("hospital"))


def make_extract(hospital: HospitalFiles, folder: Path, mutants: int, seed: int) -> Sent:
    """Write one file of each type: sound resources, and mutants of them among those."""
    folder.mkdir()
    sent = Sent(folder, hospital.history_taken_at, {}, {}, {}, Counter())
    for resource_type in dict.fromkeys(RESOURCE_OF.values()):
        [path, *_] = sorted(hospital.history.glob(f"{resource_type}*.ndjson"))
        sound = path.read_bytes().splitlines()
        if resource_type not in ("Patient", "Encounter"):  # of these all, since the rest refers to them
            sound = sound[:MOST_CONTROLS]
        random = Random(f"{seed} {resource_type}")
        kinds = [*KINDS] * (mutants // len(KINDS) + 1)
        made = [
            (kind, mutant(random, kind, json.loads(random.choice(sound)), f"m{number}"))
            for number, kind in enumerate(kinds[:mutants])
        ]
        sent.tried.update(kind for kind, _ in made)
        mixed = [*((None, line) for line in sound), *made]
        random.shuffle(mixed)
        _write(sent, f"{resource_type}.ndjson", mixed)
        sent.controls[resource_type] = [json.loads(line)["id"] for line in sound]
    return sent


def _write(sent: Sent, name: str, mixed: list[tuple[str | None, bytes]]) -> None:
    lines: list[bytes] = []
    for kind, text in mixed:
        for line in text.split(b"\n"):
            lines.append(line)
            if kind:
                sent.kinds[name, len(lines)] = kind
    sent.lines[name] = lines
    (sent.folder / name).write_bytes(b"\n".join(lines))


def taken_in(sent: Sent, home: Path, records: Records) -> tuple[IngestResult, IngestPlaces]:
    places = IngestPlaces(landing=home / "landing", lake=Lake(home / "lake", 2), sources=SOURCES, temp=home / "tmp")
    done = ingest("demo_ehr", sent.folder, as_of=sent.taken_at, is_history=True, places=places, records=records)
    return done, places


def findings(sent: Sent, done: IngestResult, places: IngestPlaces, records: Records) -> Iterator[str]:
    """What is not as it must be, by the bytes that were sent and the tables and records that came of them."""
    with records.read() as db:
        aside = db.execute(select(quarantine)).all()
        waits = db.execute(select(waiting)).all()
    for table in LOAD_ORDER:
        account, name = done.accounts[table], f"{RESOURCE_OF[table]}.ndjson"
        count = sum(1 for line in sent.lines[name] if line.strip())
        if account.received != count:
            yield f"{table}: {count} lines were sent, {account.received} received"
        if not account.balances:
            yield f"{table}: the account does not balance"
        for what, rows, counted in (("aside", aside, account.quarantined), ("waits", waits, account.waiting)):
            kept = {(row.source_file, row.source_line) for row in rows if row.table_name == table}
            if len(kept) != counted:
                yield f"{table}: {len(kept)} {what} are kept, {counted} are in the account"
            if sound := [place for place in kept if place not in sent.kinds]:
                yield f"{table}: {len(sound)} sound records {what}"
    for row in aside:
        if row.bytes != sent.lines[row.source_file][row.source_line - 1].rstrip(b"\r"):
            yield f"{row.source_file}, line {row.source_line}: other bytes are kept than were sent"
    yield from _missing_controls(sent, places, records)


def _missing_controls(sent: Sent, places: IngestPlaces, records: Records) -> Iterator[str]:
    with records.read() as db, connect(places.temp) as connection:
        _, versions = ledger.newest_snapshot(db)
        places.lake.open_snapshot(connection, versions, materialize=False)
        for table in LOAD_ORDER:
            key = "patient_id" if table == "patient_link" else TABLES[table].key
            rows = connection.execute(f"select distinct {key} from {table}").fetchall()
            taken = {str(name).removeprefix("demo_ehr/").partition("#")[0] for (name,) in rows}
            if missing := set(sent.controls[RESOURCE_OF[table]]) - taken:
                yield f"{table}: {len(missing)} sound records are not taken"


def reached(sent: Sent, records: Records) -> dict[str, Counter[str]]:
    """What the kinds of mutation led to, where it was something else than being taken."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    with records.read() as db:
        for row in db.execute(select(quarantine)).all():
            found[sent.kinds.get((row.source_file, row.source_line), "sound")][row.reason] += 1
        for row in db.execute(select(waiting)).all():
            found[sent.kinds.get((row.source_file, row.source_line), "sound")]["waits"] += 1
    return found


def test_mutants_of_every_view_are_taken_or_set_aside_and_the_sound_beside_them_taken(
    hospital: HospitalFiles, tmp_path: Path, home: Path, sqlite_records: Records, request: pytest.FixtureRequest
) -> None:
    seed = request.config.getoption("--hypothesis-seed") or 1
    sent = make_extract(hospital, tmp_path / "sent", MUTANTS, int(seed))
    done, places = taken_in(sent, home, sqlite_records)
    wrong = list(findings(sent, done, places, sqlite_records))
    outcomes = reached(sent, sqlite_records)
    never = sorted(set(KINDS) - outcomes.keys())
    views = {RESOURCE_OF[table]: sent.tried.total() // len(sent.lines) for table in LOAD_ORDER}
    tried = sum(views[RESOURCE_OF[table]] for table in LOAD_ORDER)
    print(f"mutants: {tried} tried, {tried - len(wrong)} passed, {len(never)} kinds never reached")
    for kind, counts in sorted(outcomes.items()):
        print(f"  {kind}: {dict(counts.most_common())}")
    assert (wrong, never) == ([], [])


BATCHES = LineStream.batches


def drop_what_cannot_be_read(stream: LineStream) -> Iterator[pa.RecordBatch]:
    """A broken door: a line that is no text is passed over."""
    for batch in BATCHES(stream):
        yield batch.filter(batch.column("raw").is_valid())


def keep_tidied_bytes(_kind: str, path: Path, numbers: set[int], **_: object) -> Iterator[SentRecord]:
    """A broken door: bytes that are no text are not kept as they came."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if number in numbers:
            yield SentRecord(number, "", line.rstrip(b"\r").decode(errors="replace").encode())


def test_a_door_that_drops_lines_is_found(
    hospital: HospitalFiles, tmp_path: Path, home: Path, sqlite_records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = make_extract(hospital, tmp_path / "sent", FEW, 1)
    monkeypatch.setattr(LineStream, "batches", drop_what_cannot_be_read)
    with pytest.raises(NotInOrder, match="does not balance"):
        taken_in(sent, home, sqlite_records)
    monkeypatch.setattr("integrations.ingest.run.line_count", lambda *_: None)  # nor does the ingest count
    found = list(findings(sent, *taken_in(sent, home, sqlite_records), sqlite_records))
    assert [each for each in found if "lines were sent" in each]


def test_a_door_that_tidies_what_it_keeps_is_found(
    hospital: HospitalFiles, tmp_path: Path, home: Path, sqlite_records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = make_extract(hospital, tmp_path / "sent", FEW, 1)
    monkeypatch.setattr(set_aside, "sent_records", keep_tidied_bytes)
    found = list(findings(sent, *taken_in(sent, home, sqlite_records), sqlite_records))
    assert [each for each in found if "other bytes are kept" in each]
