"""A laboratory that sends tables: what its contract says of delimiter, encoding, null words, zone, codes and time."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from integrations.errors import Refused
from integrations.ingest import retry
from tests.integrations.ingest.conftest import FIRST_NIGHT, MRN, Ward, patient

CONTRACT = f"""
source: lis
owner: the laboratory
site_id: north
time_zone: Europe/Berlin
kind: tabular
lateness: 2d
go_live_at: 2024-03-01T00:00:00Z
patients_of: {{system: "{MRN}", source: ward}}
inputs:
  results:
    files: ["results.*"]
    delimiter: ";"
    encoding: windows-1252
    null_words: ["", "NULL", "----"]
tables:
  observation: {{files: ["results.*"], mapping: observation.sql, history: {{available_at: issued_at, plus: 1h}}}}
"""
MAPPING = """
with sent as (
    select *, try_cast(replace(wert, ',', '.') as double) as number from results
)
select
    record_file,
    record_line,
    wert is null as is_empty,
    case when wert is null then 'no_value' end as out_of_scope_reason,
    patient as patient_id,
    entnommen as effective_at,
    freigegeben as issued_at,
    auftrag || '|' || code as observation_id,
    'laboratory' as category,
    'urn:lis:code' as local_system,
    code as local_code,
    number as value_number,
    einheit as unit,
    case when number is null then wert end as value_text,
    'final' as status
from sent
"""
CODES = """local_system,local_code,loinc,unit,reason,owner
urn:lis:code,KREA,2160-0,mg/dL,,Dr. Nord
urn:lis:code,KREA,2160-0,umol/L,,Dr. Nord
urn:lis:code,NATR,2951-2,mmol/L,,Dr. Nord
urn:lis:code,FARBE,72166-2,,,Dr. Nord
urn:lis:code,QC,out_of_scope,,control material,Dr. Nord
"""
HEAD = ("auftrag", "patient", "code", "wert", "einheit", "entnommen", "freigegeben")
ROWS = (
    ("A1", "m1", "KREA", "1,20", "mg/dL", "2024-03-08 09:00", "2024-03-08 10:00"),
    ("A2", "m1", "KREA", "106", "umol/L", "2024-03-08 09:30", "2024-03-08 10:00"),
    ("A3", "m1", "NATR", "NA", "mmol/L", "2024-03-08 09:00", "2024-03-08 10:00"),
    ("A4", "m1", "NATR", "NULL", "mmol/L", "2024-03-08 09:00", "2024-03-08 10:00"),
    ("A5", "m1", "NATR", "----", "mmol/L", "2024-03-08 09:00", "2024-03-08 10:00"),
    ("A6", "m1", "FARBE", "gelb, trüb", "", "2024-03-08 09:00", "2024-03-08 10:00"),
    ("A7", "m1", "QC", "5", "mg/dL", "2024-03-08 09:00", "2024-03-08 10:00"),
    ("A8", "m1", "NEU", "5", "mg/dL", "2024-03-08 09:00", "2024-03-08 10:00"),
    ("A9", "m1", "KREA", "1.2", "g/L", "2024-03-08 09:00", "2024-03-08 10:00"),
)
VALUES = (
    "select local_code, value_number, unit, value_text, effective_at::varchar from observation order by observation_id"
)


@pytest.fixture
def lis(open_ward: Ward) -> Ward:
    folder = open_ward.places.sources / "lis"
    folder.mkdir()
    for name, text in (("contract.yaml", CONTRACT), ("observation.sql", MAPPING), ("codes.csv", CODES)):
        (folder / name).write_text(text, encoding="utf-8")
    open_ward.send(Patient=[patient("p1", "m1")])
    return open_ward


def csv(folder: Path, rows: tuple[tuple[str, ...], ...] = ROWS) -> Path:
    lines = "".join(";".join(row) + "\r\n" for row in (HEAD, *rows))
    (folder / "results.csv").write_bytes(lines.encode("windows-1252"))
    return folder


def parquet(folder: Path, rows: tuple[tuple[str, ...], ...] = ROWS) -> Path:
    columns = dict(zip(HEAD, map(list, zip(*rows, strict=True)), strict=True))
    pyarrow.parquet.write_table(pa.table(columns), folder / "results.parquet")
    return folder


@pytest.mark.parametrize("write", [csv, parquet])
def test_a_table_is_read_as_its_contract_says_and_every_row_is_accounted_for(lis: Ward, write: Any) -> None:
    done = lis.ingest(write(lis.extract()), night=1, source="lis")
    account = done.accounts["observation"]
    assert (account.received, account.mapped, account.out_of_scope, account.quarantined) == (9, 3, 3, 3)
    assert done.quarantined == {"bad_value": 1, "unknown_code": 1, "unknown_unit": 1}  # NA is no null word of theirs
    assert lis.rows(VALUES) == [
        ("KREA", 1.2, "mg/dL", None, "2024-03-08 08:00:00+00"),
        ("KREA", pytest.approx(1.199, abs=0.001), "mg/dL", None, "2024-03-08 08:30:00+00"),
        ("FARBE", None, None, "gelb, trüb", "2024-03-08 08:00:00+00"),
    ]


def test_a_word_is_nothing_as_soon_as_the_contract_says_so(lis: Ward) -> None:
    contract = lis.places.sources / "lis" / "contract.yaml"
    contract.write_text(contract.read_text().replace('"----"', '"----", "NA"'))
    done = lis.ingest(csv(lis.extract()), night=1, source="lis")
    assert done.accounts["observation"].out_of_scope == 4
    assert done.quarantined == {"unknown_code": 1, "unknown_unit": 1}


def test_in_history_a_result_was_known_by_the_rule_of_the_contract(lis: Ward) -> None:
    lis.ingest(csv(lis.extract(), ROWS[:1]), night=1, is_history=True, source="lis")
    known = lis.rows("select available_at::varchar, is_available_at_inferred from observation")
    assert known == [("2024-03-08 10:00:00+00", True)]  # released 10:00 in Berlin, and an hour


def test_what_lay_in_quarantine_is_known_from_its_release_once_its_code_has_an_owner(lis: Ward) -> None:
    lis.ingest(csv(lis.extract()), night=1, source="lis")
    codes = lis.places.sources / "lis" / "codes.csv"
    codes.write_text(codes.read_text() + "urn:lis:code,NEU,2345-7,mg/dL,,Dr. Nord\n")
    at = FIRST_NIGHT + timedelta(days=3)
    done = retry("lis", as_of=at, places=lis.places, records=lis.records)
    assert (done.released, done.stays) == ({"unknown_code": 1}, {"bad_value": 1, "unknown_unit": 1})
    known = "select value_number, available_at from observation where local_code = 'NEU'"
    assert lis.rows(known) == [(5.0, at)]


def test_a_file_in_another_delimiter_refuses_the_extract(lis: Ward) -> None:
    folder = lis.extract()
    (folder / "results.csv").write_text("auftrag,patient\nA1,m1\n")
    with pytest.raises(Refused):
        lis.ingest(folder, night=1, source="lis")
