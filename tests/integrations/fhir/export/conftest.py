"""A small hospital's FHIR server, and a house that fetches from it."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import delete

from integrations.asking import Export
from integrations.contract import SOURCES, load_contract
from integrations.duck import connect
from integrations.fhir.export.fetch import Fetched, desk_of, fetch
from integrations.fhir.export.wanted import Wanted
from integrations.ingest import IngestPlaces, IngestResult, ingest, ledger
from integrations.lake import Lake
from integrations.records import Records, open_records
from integrations.records.schema import breaker
from integrations.synthetic_hospital.ehr_faults import Fault, Kind
from integrations.synthetic_hospital.ehr_server import EhrServer
from integrations.synthetic_hospital.ehr_shelf import Shelf
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import HospitalFiles, write_hospital
from integrations.web.ask import Server
from integrations.web.endpoint import Endpoint
from integrations.web.open import open_server
from integrations.web.patience import Patience
from integrations.web.smart import load_key, public_keys

FEED = "demo_ehr"
TYPES = ("Patient", "Encounter", "Condition", "Procedure", "MedicationRequest", "ImagingStudy", "Observation")
QUICK = Patience(
    tries=6,
    first_wait=timedelta(milliseconds=1),
    longest_wait=timedelta(milliseconds=20),
    whole_export=timedelta(seconds=60),
)
HOSPITAL = Hospital(patients=16, nights=3, scenario="none", seed=3)


@dataclass
class House:
    """A Rounds home that fetches the feed."""

    home: Path
    records: Records
    patience: Patience = QUICK
    more: dict[str, Any] = field(default_factory=dict)  # of the endpoint

    @property
    def places(self) -> IngestPlaces:
        return IngestPlaces(
            landing=self.home / "landing", lake=Lake(self.home / "lake", 2), sources=SOURCES, temp=self.home / "tmp"
        )

    @property
    def key_file(self) -> Path:
        return self.home / "secrets" / f"{FEED}.jwk"

    @contextmanager
    def server(self, ehr: EhrServer) -> Iterator[Server]:
        endpoint = Endpoint(**{"base_url": ehr.base_url, "client_id": "rounds"} | self.more)
        with open_server(
            endpoint,
            own_key=self.key_file,
            records=self.records,
            clock=lambda: datetime.now(UTC),
            patience=self.patience,
        ) as server:
            yield server

    def wanted(self, base: httpx.URL | None = None, **export: Any) -> Wanted:
        """What the next export asks for."""
        everything = Wanted(export=Export(**{"types": TYPES, "parallel": 2} | export), group_id="g1")
        with self.records.read() as db:
            since = ledger.watermark_of(db, FEED, everything.digest(base) if base else "")
        return replace(everything, since=since - everything.export.overlap if since else None)

    def fetch(self, ehr: EhrServer, **export: Any) -> Fetched:
        """Fetch what has changed; it stays at the desk."""
        with desk_of(FEED, self.home / "exports") as desk, self.server(ehr) as server:
            return fetch(self.wanted(server.base, **export), server, desk)

    def take(self, ehr: EhrServer, **export: Any) -> IngestResult:
        """Fetch what has changed and take it in."""
        result = self.ingest(self.fetch(ehr, **export).folder, as_of=ehr.now)
        shutil.rmtree(self.home / "exports" / FEED)
        return result

    def ingest(self, folder: Path, as_of: datetime) -> IngestResult:
        """Take an extract in."""
        is_past = load_contract(FEED).is_past(as_of)
        return ingest(FEED, folder, as_of=as_of, is_history=is_past, places=self.places, records=self.records)

    def close_circuit(self) -> None:
        """As if the server had answered again."""
        with self.records.begin() as db:
            db.execute(delete(breaker))

    @staticmethod
    def kicked_off(ehr: EhrServer) -> list[str]:
        """The requests that started exports."""
        return [path for path in ehr.paths if "$export" in path]

    def requests(self, ehr: EhrServer) -> list[str | None]:
        """The `_since` of each export that was asked for."""
        return [parse_qs(urlsplit(path).query).get("_since", [None])[0] for path in self.kicked_off(ehr)]

    def facts(self) -> str:
        """The same as tables(), without the place where each row came from."""
        return self.tables("extract_id, source_file, source_line")

    def tables(self, without: str = "") -> str:
        """A hash over every row of every table, in the newest snapshot."""
        columns = f"* exclude ({without})" if without else "*"
        with self.records.read() as db:
            _, versions = ledger.newest_snapshot(db)
        digest = hashlib.sha256()
        with connect(self.home / "tmp", memory_limit_mb=200) as connection:
            for table, version in sorted(versions.items()):
                if files := self.places.lake.files(table, version):
                    sql = f"select {columns} from read_parquet({files!r}, hive_partitioning = false) order by all"
                    digest.update(repr((table, connection.execute(sql).fetchall())).encode())
        return digest.hexdigest()

    def count(self, table: str) -> int:
        """Facts of a table that are not withdrawn, in the newest snapshot."""
        with self.records.read() as db, connect(self.home / "tmp", memory_limit_mb=200) as connection:
            _, versions = ledger.newest_snapshot(db)
            self.places.lake.open_snapshot(connection, versions, tables=[table], materialize=False)
            sql = f"select count(*) from {table} where superseded_at = timestamptz 'infinity' and not is_retracted"
            [(count,)] = connection.execute(sql).fetchall()
            return int(count)


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> HospitalFiles:
    """A hospital of sixteen patients, its history and three nights."""
    return write_hospital(HOSPITAL, tmp_path_factory.mktemp("small_hospital") / "files")


@pytest.fixture(scope="session")
def house_template(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """A house that has fetched nothing, with a key of its own."""
    home = tmp_path_factory.mktemp("house") / "home"
    (home / "tmp").mkdir(parents=True)
    shutil.copy(sqlite_template, home / "records.db")
    Lake(home / "lake", 2).create()
    load_key(Endpoint(base_url="http://127.0.0.1"), home / "secrets" / f"{FEED}.jwk")
    return home


@pytest.fixture
def house(tmp_path: Path, house_template: Path) -> Iterator[House]:
    """A house that has fetched nothing yet."""
    house = copied(house_template, tmp_path / "home")
    yield house
    house.records.close()


@pytest.fixture
def two_houses(tmp_path: Path, house_template: Path) -> Iterator[tuple[House, House]]:
    """Two that go different ways."""
    one, other = copied(house_template, tmp_path / "one"), copied(house_template, tmp_path / "other")
    yield one, other
    one.records.close()
    other.records.close()


def copied(template: Path, home: Path) -> House:
    """A house of its own."""
    shutil.copytree(template, home)
    return House(home, open_records(f"sqlite:///{home / 'records.db'}"))


MakeEhr = Callable[..., EhrServer]


@pytest.fixture
def make_ehr(hospital: HospitalFiles, house_template: Path) -> Iterator[MakeEhr]:
    """Start FHIR servers of the hospital that know the houses' key; `nights`: how many have passed."""
    with ExitStack() as opened:
        yield lambda nights=0, **options: opened.enter_context(ehr_of(hospital, house_template, nights, **options))


def ehr_of(hospital: HospitalFiles, house_template: Path, nights: int, **options: Any) -> EhrServer:
    """The hospital's FHIR server after some nights; it knows the key of every house."""
    jwks = public_keys(load_key(Endpoint(base_url="http://127.0.0.1"), house_template / "secrets" / f"{FEED}.jwk"))
    shelf = Shelf([hospital.history, *(night.ehr for night in hospital.nights)])
    return EhrServer(**{"shelf": shelf, "now": moment(hospital, nights), "jwks": jwks} | options)


def moment(hospital: HospitalFiles, nights: int) -> datetime:
    """When the extract of a night was taken; 0: that of the history."""
    return hospital.nights[nights - 1].taken_at if nights else hospital.history_taken_at


def on_a_bad_day(faults: dict[tuple[str, int], Fault]) -> Any:
    """Faults by the kind of a request and its number."""

    def fault(kind: Kind, number: int) -> Fault | None:
        return faults.get((kind, number))

    return fault
