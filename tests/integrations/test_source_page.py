"""A source's page says what its contract and its codes say, in words and in numbers."""

from pathlib import Path

import pytest

from integrations.source_page import source_page

CONTRACT = """\
# Results of the ward's own analyser.
source: analyser
owner: head of the ward
site_id: demo
time_zone: America/Chicago
kind: tabular
lateness: 36h
go_live_at: null
encounters_of: demo_ehr
files_out_of_scope: {"*.txt": notes of the staff}
inputs:
  results: {files: ["r*.csv"], delimiter: ";", null_words: ["", "n/a"]}
tables:
  observation:
    files: ["r*.csv"]
    mapping: observation.sql
    # printed two hours later
    history: {available_at: [issued_at, effective_at], plus: 2h}
    dates_alone: {effective_at: end_of_day}
"""
CODES = """\
local_system,local_code,loinc,unit,reason,owner
a,CREA,2160-0,umol/L,by hand,head
a,crea,2160-0,mg/dL,,head
a,X1,out_of_scope,,Colour (Urine): no view draws on it,head
a,X2,out_of_scope,,Smell (Urine): no view draws on it,head
a,X3,out_of_scope,,computed,head
"""


@pytest.fixture
def page(tmp_path: Path) -> str:
    folder = tmp_path / "analyser"
    folder.mkdir()
    (folder / "contract.yaml").write_text(CONTRACT)
    (folder / "codes.csv").write_text(CODES)
    return source_page("analyser", tmp_path)


def test_the_head_says_who_answers_for_the_feed_and_when_it_speaks(page: str) -> None:
    assert "Results of the ward's own analyser." in page
    assert "| Owner | head of the ward |" in page
    assert "| Lateness | 36 hours: how late it may still report |" in page
    assert "| Go-live | never: all that it sends is history |" in page
    assert "| Stays | those of [demo_ehr](../demo_ehr/README.md) |" in page


def test_a_history_rule_is_told_in_words_with_its_reason_from_the_contract(page: str) -> None:
    rule = "`issued_at`, else `effective_at` + 2 hours | `effective_at`: the end of that day | printed two hours later"
    assert f"| [observation](../../README.md#observation) | {rule} |" in page


def test_an_input_that_is_not_plain_csv_says_its_form_and_its_words_for_nothing(page: str) -> None:
    assert "| `results` | `r*.csv` | `;`, utf-8 | `n/a` |" in page
    assert "| `*.txt` | notes of the staff |" in page


def test_codes_are_counted_by_reason_without_the_name_of_each(page: str) -> None:
    assert "names 5 codes" in page
    assert (
        "| 2 | mapped to LOINC |  |\n| 2 | out of scope | no view draws on it |\n| 1 | out of scope | computed |"
        in page
    )


def test_codes_of_one_meaning_share_a_row(page: str) -> None:
    row = "| 2160-0 | Creatinine in serum or plasma | `mg/dL` | `CREA`, `crea` | `umol/L`, `mg/dL` | by hand |"
    assert row in page


def test_notes_of_people_are_linked_where_there_are_some(page: str, tmp_path: Path) -> None:
    assert "notes.md" not in page
    (tmp_path / "analyser" / "notes.md").write_text("decided")
    assert "[notes.md](notes.md)" in source_page("analyser", tmp_path)
