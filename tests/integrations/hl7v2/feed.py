"""A feed of its own patients: what a listener hears is taken in, and the tables are read back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from integrations.contract import Contract, load_contract
from integrations.duck import connect
from integrations.ingest import IngestPlaces, IngestResult, ingest
from integrations.ingest.heard import drop_taken_in, heard
from integrations.ingest.ledger import known_messages, newest_snapshot
from integrations.lake import Lake
from integrations.records import Records, open_records

CONTRACT = """
source: lab
owner: the laboratory
site_id: north
time_zone: America/Chicago
kind: hl7v2
lateness: 1d
go_live_at: 2024-01-01T00:00:00Z
person_systems: ["urn:oid:1.2.3"]
patients_of: {system: "urn:oid:1.2.3", source: lab}
tables:
  patient: {files: ["*.hl7"], history: {available_at: always}}
  patient_link: {files: ["*.hl7"], history: {available_at: always}}
  encounter: {files: ["*.hl7"], history: {available_at: started_at}}
  encounter_location: {files: ["*.hl7"], history: {available_at: started_at}}
  observation: {files: ["*.hl7"], history: {available_at: issued_at}}
"""
CODES = """local_system,local_code,loinc,unit,reason,owner
LN,2160-0,2160-0,mg/dL,,the laboratory
"""
MORNING = datetime.fromisoformat("2024-03-11T05:00:00Z")


@dataclass
class HeardFeed:
    """A home with one feed of messages."""

    home: Path
    records: Records
    now: datetime = MORNING

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @property
    def contract(self) -> Contract:
        return load_contract("lab", self.home / "sources")

    @property
    def places(self) -> IngestPlaces:
        sources, temp = self.home / "sources", self.home / "tmp"
        return IngestPlaces(landing=self.landing, lake=Lake(self.home / "lake", 2), sources=sources, temp=temp)

    def tick(self) -> datetime:
        """A second later than the last extract."""
        self.now += timedelta(seconds=1)
        return self.now

    def take_in(self) -> IngestResult | None:
        """Take in what was heard, as `rounds ingest` does; null when there is nothing."""
        if (folder := heard("lab", self.landing, self.records)) is None:
            return None
        result = ingest("lab", folder, as_of=self.tick(), is_history=False, places=self.places, records=self.records)
        drop_taken_in("lab", self.landing, self.records)
        return result

    def known(self, keys: Sequence[str]) -> list[tuple[str, str, str | None, bool]]:
        """The messages that were taken in under these control keys."""
        with self.records.read() as db:
            return known_messages(db, "lab", "~", keys)

    def rows(self, query: str, table: str) -> list[tuple[Any, ...]]:
        """Ask the versions of one table, as `versions`."""
        with self.records.read() as db:
            _, at = newest_snapshot(db)
        lake = Lake(self.home / "lake", 2)
        files = lake.files(table, at[table])
        with connect(self.home / "tmp") as connection:
            connection.execute(f"create view versions as from read_parquet({[str(file) for file in files]})")
            return connection.execute(query).fetchall()


def open_feed(home: Path) -> HeardFeed:
    """Make a home with that feed."""
    folder = home / "sources" / "lab"
    folder.mkdir(parents=True)
    (folder / "contract.yaml").write_text(CONTRACT, encoding="utf-8")
    (folder / "codes.csv").write_text(CODES, encoding="utf-8")
    (home / "tmp").mkdir()
    return HeardFeed(home, open_records(f"sqlite:///{home / 'records.db'}"))
