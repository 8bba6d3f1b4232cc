"""Warehouse extracts: every line of a file is a record, and none is lost, whatever is wrong with it."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from integrations.contract import Contract
from integrations.contract_parts import TabularInput
from integrations.duck import connect
from integrations.errors import Refused, WrongUsage
from integrations.tables import TABLES
from integrations.tabular.lines import record_bytes
from integrations.tabular.staging import stage_tabular, staged_columns

MAPPING = """
-- procedures as the warehouse keeps them
select record_file, record_line, patient as patient_id, done_on as effective_at, id as procedure_id, code,
    'cpt' as code_system
from procedures
-- the last line is a comment
"""
HEADER = b"id,patient,code,done_on\n"


class Warehouse:
    """A source folder with one mapping, and an extract in `root`."""

    def __init__(self, home: Path) -> None:
        self.connection = connect(home / "spill")
        self.folder, self.root = home / "source", home / "extract"
        for folder in (self.folder, self.root / "hosp"):
            folder.mkdir(parents=True)
        self.inputs: dict[str, dict[str, object]] = {"procedures": {"files": ["hosp/procedures*"]}}

    def send(self, content: bytes, name: str = "procedures.csv") -> None:
        (self.root / "hosp" / name).write_bytes(content)

    def stage(self, columns: str, mapping: str = MAPPING) -> list[tuple[object, ...]]:
        (self.folder / "procedure.sql").write_text(mapping)
        contract = Contract.model_validate(
            {
                "source": "warehouse",
                "owner": "o",
                "site_id": "s",
                "time_zone": "UTC",
                "kind": "tabular",
                "lateness": "1d",
                "inputs": self.inputs,
                "tables": {
                    "procedure": {
                        "files": ["hosp/procedures*"],
                        "mapping": "procedure.sql",
                        "history": {"available_at": "effective_at"},
                    }
                },
            }
        )
        name = stage_tabular(self.connection, contract, "procedure", folder=self.folder, root=self.root)
        return self.connection.execute(f"select {columns} from {name} order by record_file, record_line").fetchall()


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def test_every_line_becomes_a_staged_row_with_its_place(warehouse: Warehouse) -> None:
    warehouse.send(HEADER + b"r1,p1,99213,2024-03-01\nr2,p2,99214,2024-03-02\n")
    assert warehouse.stage("record_file, record_line, patient_id, procedure_id, code, effective_at, is_retracted") == [
        ("hosp/procedures.csv", 2, "p1", "r1", "99213", "2024-03-01", False),
        ("hosp/procedures.csv", 3, "p2", "r2", "99214", "2024-03-02", False),
    ]


def test_a_feed_of_another_kind_may_come_before_and_after_in_one_ingest(warehouse: Warehouse) -> None:
    warehouse.send(HEADER + b"r1,p1,99213,2024-03-01\n")
    warehouse.connection.execute("create or replace temp view staged_procedure as select 1 as from_another_door")
    assert warehouse.stage("procedure_id") == [("r1",)]
    warehouse.connection.execute("create or replace temp view staged_procedure as select 2 as from_another_door")
    assert warehouse.stage("procedure_id") == [("r1",)]


@pytest.mark.parametrize("table", TABLES)
def test_staged_rows_keep_times_as_text_and_leave_codes_to_the_contract(table: str) -> None:
    columns = staged_columns(table)
    instants = {column.name for column in TABLES[table].columns if column.kind in ("instant", "date")}
    assert {columns[name] for name in {"effective_at", "issued_at", *instants}} == {"VARCHAR"}
    assert not {"source", "available_at", "bucket", "is_extreme"} & columns.keys()
    assert ("code" in columns) is (table in ("condition", "procedure", "medication"))


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"r2,p2,99214", "3 cells for 4 columns"),
        (b"r2,p2,99214,2024-03-02,more", "5 cells for 4 columns"),
        (b'r2,"p2,99214,2024-03-02', "a quote is not closed, or text stands beside it"),
        (b'r2,"p2"x,99214,2024-03-02', "a quote is not closed, or text stands beside it"),
        (b"r2,p\xff\xfe,99214,2024-03-02", "not utf-8"),
    ],
)
def test_a_line_that_cannot_be_read_is_set_aside_and_the_next_one_is_read(
    warehouse: Warehouse, line: bytes, detail: str
) -> None:
    warehouse.send(HEADER + b"r1,p1,1,2024-03-01\n" + line + b"\nr3,p3,3,2024-03-03\n")
    assert warehouse.stage("record_line, problem, problem_detail, procedure_id") == [
        (2, None, None, "r1"),
        (3, "bad_value", detail, None),
        (4, None, None, "r3"),
    ]
    assert record_bytes(warehouse.root / "hosp" / "procedures.csv", [3]) == {3: line}


def test_quotes_line_ends_blank_lines_and_a_byte_order_mark_are_no_trouble(warehouse: Warehouse) -> None:
    warehouse.send(b"\xef\xbb\xbf" + HEADER + b'r1,"p,1","a ""b""",2024-03-01\r\n\n \nr2,p2,,2024-03-02')
    assert warehouse.stage("record_line, patient_id, code") == [
        (
            2,
            "p,1",
            'a "b"',
        ),
        (5, "p2", None),
    ]


def test_delimiter_encoding_and_null_words_are_as_the_contract_says(warehouse: Warehouse) -> None:
    warehouse.inputs["procedures"] |= {"delimiter": ";", "encoding": "windows-1252", "null_words": ["", "NULL"]}
    warehouse.send(HEADER.replace(b",", b";") + "r1;Müller;NULL;2024-03-01\n".encode("windows-1252"))
    assert warehouse.stage("patient_id, code") == [("Müller", None)]


def test_an_input_without_null_words_keeps_an_empty_cell(warehouse: Warehouse) -> None:
    warehouse.inputs["procedures"] |= {"null_words": []}
    warehouse.send(HEADER + b"r1,p1,,2024-03-01\n")
    assert warehouse.stage("code") == [("",)]


def test_packed_files_of_one_input_are_read_together(warehouse: Warehouse) -> None:
    warehouse.send(HEADER + b"r1,p1,1,2024-03-01\n", "procedures_1.csv")
    warehouse.send(gzip.compress(HEADER + b"r2,p2,2,2024-03-01\n"), "procedures_2.csv.gz")
    assert warehouse.stage("record_file, record_line, procedure_id") == [
        ("hosp/procedures_1.csv", 2, "r1"),
        ("hosp/procedures_2.csv.gz", 2, "r2"),
    ]
    assert record_bytes(warehouse.root / "hosp" / "procedures_2.csv.gz", [2]) == {2: b"r2,p2,2,2024-03-01"}


def test_a_parquet_file_is_read_as_texts_by_row(warehouse: Warehouse) -> None:
    frame = pa.table(
        {"id": ["r1", "r2"], "patient": [1, 2], "code": ["", "7"], "done_on": ["2024-03-01", "2024-03-02"]}
    )
    pyarrow.parquet.write_table(frame, warehouse.root / "hosp" / "procedures.parquet")
    assert warehouse.stage("record_file, record_line, patient_id, code") == [
        ("hosp/procedures.parquet", 1, "1", None),
        ("hosp/procedures.parquet", 2, "2", "7"),
    ]
    found = record_bytes(warehouse.root / "hosp" / "procedures.parquet", [2])
    assert found == {2: b'{"id": "r2", "patient": 2, "code": "7", "done_on": "2024-03-02"}'}


def test_rows_far_down_a_long_parquet_file_are_found_by_number(tmp_path: Path) -> None:
    path = tmp_path / "long.parquet"
    pyarrow.parquet.write_table(pa.table({"n": range(1, 120_001)}), path)
    found = record_bytes(path, [1, 50_000, 50_001, 120_000, 120_001])
    assert found == {number: b'{"n": %d}' % number for number in (1, 50_000, 50_001, 120_000)}


def test_a_mapping_says_what_is_wrong_with_a_record_and_what_holds_no_fact(warehouse: Warehouse) -> None:
    warehouse.send(HEADER + b"r1,p1,odd,2024-03-01\nr2,p2,,2024-03-02\n")
    mapping = """
        select record_file, record_line, patient as patient_id, code is null as is_empty,
            case when code is null then 'no_value' end as out_of_scope_reason,
            case when code = 'odd' then 'bad_value' end as problem,
            case when code = 'odd' then 'code' end as problem_detail
        from procedures
    """
    assert warehouse.stage("patient_id, problem, problem_detail, is_empty, out_of_scope_reason", mapping) == [
        ("p1", "bad_value", "code", False, None),
        ("p2", None, None, True, "no_value"),
    ]


def test_a_mapping_may_look_things_up_in_another_input(warehouse: Warehouse) -> None:
    warehouse.inputs["stays"] = {"files": ["hosp/stays.csv"]}
    warehouse.inputs["never_read"] = {"files": ["hosp/never_sent.csv"]}
    warehouse.send(HEADER + b"r1,p1,1,2024-03-01\n")
    warehouse.send(b"patient,stay\np1,e1\n", "stays.csv")
    mapping = """
        select procedures.record_file, procedures.record_line, stay as encounter_id
        from procedures left join stays using (patient)
    """
    assert warehouse.stage("encounter_id", mapping) == [("e1",)]


def test_a_missing_file_refuses_the_extract(warehouse: Warehouse) -> None:
    with pytest.raises(Refused, match=r"the extract has no hosp/procedures\*, which procedure\.sql reads"):
        warehouse.stage("code")


@pytest.mark.parametrize("content", [b"", b"\n", b'"id\n', b"id,id\nr1,r2\n"])
def test_a_file_without_a_header_refuses_the_extract(warehouse: Warehouse, content: bytes) -> None:
    warehouse.send(content)
    with pytest.raises(Refused, match=r"header|the file is empty"):
        warehouse.stage("code")


def test_files_of_one_input_with_other_columns_refuse_the_extract(warehouse: Warehouse) -> None:
    warehouse.send(HEADER, "procedures_1.csv")
    warehouse.send(b"id,code\n", "procedures_2.csv")
    with pytest.raises(Refused, match=r"procedures_2\.csv has other columns than procedures_1\.csv"):
        warehouse.stage("code")


def test_a_broken_parquet_file_refuses_the_extract(warehouse: Warehouse) -> None:
    warehouse.send(b"PAR1 cut off", "procedures.parquet")
    with pytest.raises(Refused, match="a Parquet file cannot be read"):
        warehouse.stage("code")


def test_a_column_that_the_files_do_not_have_refuses_the_extract(warehouse: Warehouse) -> None:
    warehouse.send(b"id,patient,code\nr1,p1,1\n")
    with pytest.raises(Refused, match=r'procedure\.sql does not fit the files: .*"done_on"'):
        warehouse.stage("code")


def test_a_mapping_that_loses_records_is_wrong(warehouse: Warehouse) -> None:
    warehouse.send(HEADER + b"r1,p1,1,2024-03-01\nr2,p2,2,2024-03-02\n")
    with pytest.raises(WrongUsage, match=r"procedure\.sql loses 1 records"):
        warehouse.stage("code", "select record_file, record_line from procedures where code = '1'")


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("select record_file, record_line, code as cpt from procedures", "cpt is no staged column of procedure"),
        ("select record_file, code from procedures", "record_line is missing"),
        ("select record_file, record_line, code::integer::varchar as code from procedures", "fails on a value"),
    ],
)
def test_a_mapping_that_is_wrong_says_so_without_a_value(warehouse: Warehouse, mapping: str, said: str) -> None:
    warehouse.send(HEADER + b"r1,p1,secret,2024-03-01\n")
    with pytest.raises(WrongUsage, match=said) as raised:
        warehouse.stage("code", mapping)
    assert "secret" not in str(raised.value)


def test_a_contract_names_an_input_for_every_file_of_a_table() -> None:
    declared = {"files": ["a.csv"], "mapping": "procedure.sql", "history": {"available_at": "effective_at"}}
    head = {"source": "w", "owner": "o", "site_id": "s", "time_zone": "UTC", "kind": "tabular", "lateness": "1d"}
    for inputs, table, said in (
        ({}, declared, "a.csv belongs to no input"),
        ({"a": {"files": ["a.csv"]}}, {**declared, "mapping": None}, "needs a mapping"),
        ({"procedure": {"files": ["a.csv"]}}, declared, "not as a canonical table"),
    ):
        with pytest.raises(ValueError, match=said):
            Contract.model_validate({**head, "inputs": inputs, "tables": {"procedure": table}})
    assert TabularInput.model_validate({"files": ["a.csv"]}).delimiter == ","


def test_a_long_file_is_read_in_pieces_and_every_line_keeps_its_number(warehouse: Warehouse) -> None:
    warehouse.send(HEADER + b"".join(b"r%d,p,1,2024-03-01\n" % number for number in range(2, 45_002)))
    rows = warehouse.stage("procedure_id, 'r' || record_line")
    assert len(rows) == 45_000
    assert all(name == expected for name, expected in rows)
