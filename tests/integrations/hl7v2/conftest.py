"""A laboratory that sends what a story tells it to, and what is staged of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from integrations.contract import Contract
from integrations.duck import connect
from integrations.hl7v2.stage import stage_messages
from integrations.ingest.known import open_lake
from integrations.lake import Lake

MSH = r"MSH|^~\&|LIS|LAB|EHR|LAB|20240301120000||ORU^R01^ORU_R01||P|2.5.1|||||USA|UNICODE UTF-8"
PID = "PID|1||M1^^^LAB&1.2.3&ISO^MR"
SYSTEM = "urn:oid:1.2.3"
RESULTS_ONLY, ALL_TABLES = (
    ("patient_link", "observation"),
    (
        "patient",
        "patient_link",
        "encounter",
        "encounter_location",
        "observation",
    ),
)
PV1 = "PV1|1|I|||||||||||||||||e7^^^LAB^VN"
OBR = "OBR|1|P9|A5|CBC^CBC^L|||20240301080000|||||||||||||||20240301110000|||F"

Row = dict[str, Any]


def obx(value: str = "1.20", kind: str = "NM", code: str = "2160-0^Creatinine^LN", **more: str) -> str:
    """A result: creatinine 1.20 mg/dL, final."""
    sent = {"sub_id": "", "unit": "mg/dL", "status": "F", "collected": ""} | more
    fields = ["OBX", "1", kind, code, sent["sub_id"], value, sent["unit"], *[""] * 4, sent["status"]]
    return "|".join([*fields, "", "", sent["collected"]])


def contract(*tables: str, authorities: tuple[str, ...] = (), system: str = SYSTEM, **messages: Any) -> Contract:
    """The contract of a feed that fills these tables."""
    return Contract.model_validate(
        {
            "source": "lab",
            "owner": "the laboratory",
            "site_id": "north",
            "time_zone": "America/Chicago",
            "kind": "hl7v2",
            "lateness": "1d",
            "person_systems": [system],
            "patients_of": {"system": system, "source": "ward", "assigning_authorities": authorities},
            "messages": messages,
            "tables": {
                table: {"files": ["*.hl7"], "history": {"available_at": "always"}} for table in tables or RESULTS_ONLY
            },
        }
    )


class Laboratory:
    """Writes files and reads back the staged rows."""

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.folder, self.connection, self.contract = folder, connection, contract()
        self.known: list[tuple[str, str, str | None, bool]] = []

    def sends(self, *segments: str | bytes, end: str = "\r", name: str = "oru.hl7") -> "Laboratory":
        """Stage one file of these segments."""
        raw = [segment if isinstance(segment, bytes) else segment.encode() for segment in segments]
        return self.sends_bytes(b"".join(segment + end.encode() for segment in raw), name)

    def sends_bytes(self, sent: bytes, name: str = "oru.hl7") -> "Laboratory":
        """Stage one file of these bytes."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sent)
        self.connection.execute(
            "drop table if exists staged_paths"
        )  # a file of landing never changes, one of ours does
        stage_messages(
            self.connection,
            [file],
            self.contract,
            root=self.folder,
            extract_id="lab-1",
            known=lambda keys: [each for each in self.known if each[0] in keys],
        )
        return self

    @property
    def results(self) -> list[Row]:
        """The staged rows of observation."""
        return self.rows("observation")

    @property
    def result(self) -> Row:
        """The one staged row of observation."""
        (row,) = self.results
        return row

    @property
    def links(self) -> list[Row]:
        """The staged rows of patient_link."""
        return self.rows("patient_link")

    def rows(self, table: str) -> list[Row]:
        """All staged rows of a table, in the order of the file."""
        query = f"from staged_{table} order by record_file, record_line"
        rows: list[Row] = self.connection.sql(query).to_arrow_table().to_pylist()
        return rows


@pytest.fixture(scope="session")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """One DuckDB for all stories: staging anew replaces what was staged."""
    connection = connect(tmp_path_factory.mktemp("spill"))
    open_lake(connection, Lake(tmp_path_factory.mktemp("lake"), 2), {})
    yield connection
    connection.close()


@pytest.fixture
def laboratory(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> Laboratory:
    """An empty laboratory."""
    return Laboratory(tmp_path, connection)


@pytest.fixture
def reads(laboratory: Laboratory) -> Callable[..., Row]:
    """The staged row of one result of a patient with an order."""

    def read(value: str, kind: str = "NM", **more: str) -> Row:
        return laboratory.sends(MSH, PID, PV1, OBR, obx(value, kind, **more)).result

    return read
