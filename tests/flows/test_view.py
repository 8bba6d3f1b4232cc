"""`rounds view`: a view of one's own over files of resources."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.flows.conftest import Rounds

VIEW = {
    "resource": "Observation",
    "select": [
        {
            "column": [
                {"name": "id", "path": "id"},
                {"name": "value", "path": "value.ofType(Quantity).value"},
                {"name": "is_final", "path": "status = 'final'"},
                {"name": "codes", "path": "code.coding.code", "collection": True},
            ]
        }
    ],
}
RESULT = json.dumps(
    {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "valueQuantity": {"value": 1.25},
        "code": {"coding": [{"code": "a"}, {"code": "b"}]},
    }
)
BARE = '{"resourceType":"Observation","id":"o2"}'
PATIENT = '{"resourceType":"Patient","id":"p1"}'


@pytest.fixture
def sent(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Write the view and a file of these lines; returns both paths."""

    def write(*lines: str, name: str = "sent.ndjson", view: Any = VIEW) -> tuple[str, str]:
        (tmp_path / "view.json").write_text(json.dumps(view))
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return str(tmp_path / "view.json"), str(tmp_path / name)

    return write


def test_rows_come_as_ndjson_and_other_types_are_passed_over(rounds: Rounds, sent: Callable[..., Any]) -> None:
    answer = rounds.done("view", *sent(RESULT, PATIENT, "", BARE))
    assert [json.loads(line) for line in answer.out.splitlines()] == [
        {"id": "o1", "value": 1.25, "is_final": True, "codes": ["a", "b"]},
        {"id": "o2", "value": None, "is_final": None, "codes": []},
    ]


def test_a_bundle_and_a_single_resource_are_read_entry_by_entry(rounds: Rounds, sent: Callable[..., Any]) -> None:
    bundle = {"resourceType": "Bundle", "entry": [{"resource": json.loads(text)} for text in (RESULT, PATIENT, BARE)]}
    for text in (json.dumps(bundle), json.dumps(bundle, indent=2)):
        answer = rounds.done("view", *sent(text, name="bundle.json"), "--format", "csv")
        assert answer.out == 'id,value,is_final,codes\no1,1.25,true,"[""a"",""b""]"\no2,,,[]\n'
    answer = rounds.done("view", *sent(json.dumps(json.loads(BARE), indent=2), name="one.json"), "--format", "csv")
    assert answer.out.splitlines()[1:] == ["o2,,,[]"]


def test_a_file_of_rows_has_its_name_once_it_is_whole(rounds: Rounds, sent: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    answer = rounds.done("view", *sent(RESULT, BARE), "--format", "parquet", "--out", str(out))
    assert answer.out == f"2 rows in {out}\n"
    assert pq.read_table(out).to_pylist()[0] == {"id": "o1", "value": 1.25, "is_final": True, "codes": ["a", "b"]}
    twice = {"resource": "Observation", "select": [{"column": [{"name": "code", "path": "code.coding.code"}]}]}
    refused = rounds("view", *sent(RESULT, view=twice), "--out", str(tmp_path / "half.ndjson"))
    assert refused.code == 2
    assert "more than one value" in refused.err
    assert {path.name for path in tmp_path.iterdir()} == {"view.json", "sent.ndjson", "rows.parquet"}


def test_a_line_that_is_no_resource_is_said_with_its_place(rounds: Rounds, sent: Callable[..., Any]) -> None:
    answer = rounds("view", *sent(RESULT, "{no json", BARE, "[]"))
    assert answer.code == 1
    assert len(answer.out.splitlines()) == 2
    assert "2 lines are no FHIR resource" in answer.err
    assert "2, the first is line 2" in answer.err


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        (['{"resourceType":"Bundle","entry":[]}'] * 2, 2),
        (['[{"resourceType":"Observation","id":"o1"}]'], 1),
        (["42", '"text"', '{"a":1}'], 3),
        (['\ufeff{"resourceType":"Bundle","entry":["text",{"resource":{"resourceType":"Observation"}}]}'], 1),
        (['{"resourceType":"Bundle","entry":{}}'], 1),
        (['{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Observation","id":' + "9" * 31 + "}}]}"], 1),
        (['{"resourceType":"Observation","id":"o1","valueQuantity":{"value":"12.5"}}'], 1),
    ],
)
def test_what_gives_no_row_is_never_passed_over_without_a_word(
    rounds: Rounds, sent: Callable[..., Any], lines: list[str], count: int
) -> None:
    answer = rounds("view", *sent(*lines))
    assert answer.code == 1
    assert f"{count} lines are no FHIR resource" in answer.err


def test_the_sql_is_shown_and_nothing_is_run(rounds: Rounds, sent: Callable[..., Any]) -> None:
    view, _ = sent(RESULT)
    sql = rounds.done("view", view, "--sql").out
    assert sql.startswith("with parsed as (")
    assert 'as "is_final"' in sql


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "no file to run the view over"),
        (("{sent}.gone",), "does not exist"),
        (("{sent}", "--format", "xml"), "xml is no format"),
        (("{sent}", "--format", "parquet"), "name a file with --out"),
    ],
)
def test_a_wrong_call_is_refused(
    rounds: Rounds, sent: Callable[..., Any], arguments: tuple[str, ...], sentence: str
) -> None:
    view, file = sent(RESULT)
    answer = rounds("view", view, *(argument.format(sent=file) for argument in arguments))
    assert answer.code == 2
    assert sentence in answer.err


def test_a_view_that_is_none_is_refused_with_its_place(rounds: Rounds, sent: Callable[..., Any]) -> None:
    wrong = {"resource": "Observation", "select": [{"column": [{"name": "a", "path": "statu"}]}]}
    answer = rounds("view", *sent(RESULT, view=wrong))
    assert answer.code == 2
    assert "select[0].column[0].path" in answer.err
    assert "did you mean status?" in answer.err
    assert rounds("view", *sent(RESULT, view=[1])).code == 2
