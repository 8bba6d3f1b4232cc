"""One file per stay: the file is a record of the table of stays, and each of its lines one of that of results."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from integrations.contract import Contract
from integrations.duck import connect
from integrations.errors import Refused
from integrations.tabular.staging import stage_tabular

HISTORY = {"available_at": "always"}
DECLARED = {
    "source": "ward",
    "owner": "o",
    "site_id": "s",
    "time_zone": "UTC",
    "kind": "tabular",
    "lateness": "1d",
    "inputs": {
        "stays": {"files": ["*.[tT][xX][tT]"], "record": "file", "columns": ["word", "number"]},
        "lines": {"files": ["*.[tT][xX][tT]"], "record": "line_of_file", "columns": ["word", "number"]},
        "fates": {"files": ["fates.csv"], "columns": ["stay", "fate"], "is_optional": True},
    },
    "tables": {
        "patient": {"files": ["*.[tT][xX][tT]"], "mapping": "patient.sql", "records": "stays", "history": HISTORY},
        "observation": {
            "files": ["*.[tT][xX][tT]"],
            "mapping": "observation.sql",
            "records": "lines",
            "history": HISTORY,
        },
    },
}
PATIENT = """
select stays.record_file, stays.record_line, record_id as patient_id, fate is not null as is_deceased
from stays left join fates on fates.stay = record_id
"""
OBSERVATION = "select record_file, record_line, word as local_code, number::double as value_number from lines"


class Ward:
    """A source whose files are stays, and an extract of two of them, one in a folder."""

    def __init__(self, home: Path) -> None:
        self.folder, self.root = home / "source", home / "extract"
        self.folder.mkdir()
        (self.root / "more" / "of").mkdir(parents=True)
        (self.folder / "patient.sql").write_text(PATIENT)
        (self.folder / "observation.sql").write_text(OBSERVATION)
        (self.root / "1.txt").write_text("word,number\npulse,80\npulse,90\n")
        (self.root / "more" / "of" / "2.txt").write_text("word,number\n")
        self.connection = connect(home / "spill")

    def stage(self, table: str, columns: str) -> list[tuple[object, ...]]:
        contract = Contract.model_validate(DECLARED)
        name = stage_tabular(self.connection, contract, table, folder=self.folder, root=self.root)
        return self.connection.execute(f"select {columns} from {name} order by record_file, record_line").fetchall()


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


def test_a_file_is_one_record_by_its_name_wherever_it_lies_and_though_it_has_no_line(ward: Ward) -> None:
    assert ward.stage("patient", "record_file, record_line, patient_id") == [
        ("1.txt", 1, "1"),
        ("more/of/2.txt", 1, "2"),
    ]


def test_its_lines_are_the_records_of_another_table(ward: Ward) -> None:
    assert ward.stage("observation", "record_file, record_line, value_number") == [
        ("1.txt", 2, 80.0),
        ("1.txt", 3, 90.0),
    ]


def test_an_input_that_may_be_absent_is_empty_then_and_read_where_it_came(ward: Ward) -> None:
    assert ward.stage("patient", "is_deceased") == [(False,), (False,)]
    (ward.root / "fates.csv").write_text("stay,fate\n2,died\n")
    assert ward.stage("patient", "is_deceased") == [(False,), (True,)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file has no header that can be read"),
        (b"word,word\n", "a column name stands twice in the header"),
        (b"word;number\npulse;80\n", "no column word"),
        (b"a note\n", "no column word"),
        (b"\xff\xfe\x00\n", "the file has no header that can be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_set_aside_as_a_whole_and_the_others_are_read(
    ward: Ward, content: bytes, problem: str
) -> None:
    (ward.root / "3.txt").write_bytes(content)
    assert ward.stage("patient", "record_file, patient_id, problem, problem_detail") == [
        ("1.txt", "1", None, None),
        ("3.txt", None, "bad_value", problem),
        ("more/of/2.txt", "2", None, None),
    ]
    assert {file for (file,) in ward.stage("observation", "record_file")} == {"1.txt"}


def test_columns_are_read_by_name_whatever_stands_beside_them_and_in_any_order(ward: Ward) -> None:
    (ward.root / "3.txt").write_text("note,number,word\nx,70,pulse\ny,pulse\n")
    rows = ward.stage("observation", "record_file, local_code, value_number, problem_detail")
    assert [row for row in rows if row[0] == "3.txt"] == [
        ("3.txt", "pulse", 70.0, None),
        ("3.txt", None, None, "2 cells for 3 columns"),
    ]


def test_a_file_that_lacks_a_column_is_refused_by_its_number_where_it_is_no_record(ward: Ward) -> None:
    (ward.root / "fates.csv").write_text("stay,when\n2,monday\n")
    with pytest.raises(Refused) as refused:
        ward.stage("patient", "patient_id")
    assert str(refused.value).splitlines() == [
        "a file of the extract cannot be read: no column fate",
        "where: input fates, file 1 of 1 by name",
        "do: send it with the columns stay, fate, in any order; others are not read",
    ]


def test_a_second_file_of_one_name_says_whether_it_says_the_same(ward: Ward) -> None:
    (ward.root / "twice").mkdir()
    (ward.root / "twice" / "1.txt").write_bytes((ward.root / "1.txt").read_bytes())
    (ward.root / "twice" / "2.TXT").write_text("word,number\npulse,1\n")
    (ward.folder / "patient.sql").write_text(
        "select record_file, record_line, record_id as patient_id, sent_before as problem from stays"
    )
    assert ward.stage("patient", "record_file, problem") == [
        ("1.txt", None),
        ("more/of/2.txt", None),
        ("twice/1.txt", "the_same"),
        ("twice/2.TXT", "other"),
    ]


def test_an_input_that_must_come_is_missed(ward: Ward) -> None:
    for path in list(ward.root.rglob("*.txt")):
        path.unlink()
    with pytest.raises(Refused, match=r"has no \*\.\[tT"):
        ward.stage("patient", "patient_id")


def test_the_records_of_a_table_are_those_of_an_input_that_reads_all_its_files() -> None:
    for wrong in ("fates", "nothing"):
        tables = {"patient": {**DECLARED["tables"]["patient"], "records": wrong}}  # type: ignore[index]
        with pytest.raises(ValidationError, match=f"{wrong}: no inputs that read all its files"):
            Contract.model_validate({**DECLARED, "tables": tables})
