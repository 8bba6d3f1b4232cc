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
        "stays": {"files": ["*.txt"], "record": "file"},
        "lines": {"files": ["*.txt"]},
        "fates": {"files": ["fates.csv"], "if_absent": ["stay", "fate"]},
    },
    "tables": {
        "patient": {"files": ["*.txt"], "mapping": "patient.sql", "records": "stays", "history": HISTORY},
        "observation": {"files": ["*.txt"], "mapping": "observation.sql", "records": "lines", "history": HISTORY},
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


def test_an_input_that_must_come_is_missed(ward: Ward) -> None:
    for path in list(ward.root.rglob("*.txt")):
        path.unlink()
    with pytest.raises(Refused, match=r"has no \*\.txt"):
        ward.stage("patient", "patient_id")


def test_the_records_of_a_table_are_those_of_an_input_that_reads_all_its_files() -> None:
    for wrong in ("fates", "nothing"):
        tables = {"patient": {**DECLARED["tables"]["patient"], "records": wrong}}  # type: ignore[index]
        with pytest.raises(ValidationError, match=f"{wrong} is no input that reads all its files"):
            Contract.model_validate({**DECLARED, "tables": tables})
