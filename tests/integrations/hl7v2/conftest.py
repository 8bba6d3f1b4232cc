"""A laboratory that sends what a story tells it to, and what is staged of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from integrations.contract import PatientsOf
from integrations.duck import connect
from integrations.hl7v2.oru import stage_oru

MSH = r"MSH|^~\&|LIS|LAB|EHR|LAB|20240301120000||ORU^R01^ORU_R01|1|P|2.5.1|||||USA|UNICODE UTF-8"
PID = "PID|1||M1^^^LAB&1.2.3&ISO^MR"
PATIENTS_OF = PatientsOf(system="urn:oid:1.2.3", source="ward")
PV1 = "PV1|1|I|||||||||||||||||e7^^^LAB^VN"
OBR = "OBR|1|P9|A5|CBC^CBC^L|||20240301080000|||||||||||||||20240301110000|||F"

Row = dict[str, Any]


def obx(value: str = "1.20", kind: str = "NM", code: str = "2160-0^Creatinine^LN", **more: str) -> str:
    """A result: creatinine 1.20 mg/dL, final."""
    sent = {"sub_id": "", "unit": "mg/dL", "status": "F", "collected": ""} | more
    fields = ["OBX", "1", kind, code, sent["sub_id"], value, sent["unit"], *[""] * 4, sent["status"]]
    return "|".join([*fields, "", "", sent["collected"]])


class Laboratory:
    """Writes files and reads back the staged rows."""

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.folder, self.connection, self.patients_of = folder, connection, PATIENTS_OF

    def sends(self, *segments: str | bytes, end: str = "\r", name: str = "oru.hl7") -> "Laboratory":
        """Stage one file of these segments."""
        raw = [segment if isinstance(segment, bytes) else segment.encode() for segment in segments]
        return self.sends_bytes(b"".join(segment + end.encode() for segment in raw), name)

    def sends_bytes(self, sent: bytes, name: str = "oru.hl7") -> "Laboratory":
        """Stage one file of these bytes."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sent)
        stage_oru(self.connection, [file], self.patients_of, root=self.folder)
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
