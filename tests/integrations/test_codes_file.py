"""A codes file answers what the house knows and leaves the rest to a person; appended once it is filled, it loads."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.codes import CODE_COLUMNS, TO_DECIDE, load_analytes, load_codes, load_unit_factors
from integrations.codes_file import answer_codes, codes_file, write_codes_file
from integrations.errors import Refused, WrongUsage
from integrations.ingest import UndecidedCode

LOINC = "http://loinc.org"
HEAD = ",".join(CODE_COLUMNS) + "\n"


def code(
    local_code: str, *units: str, system: str = LOINC, loinc: str | None = None, records: int = 3
) -> UndecidedCode:
    """A code that was sent in these units."""
    counts = dict.fromkeys(units, records)
    return UndecidedCode(local_system=system, local_code=local_code, loinc=loinc, records=records, units=counts)


@pytest.mark.parametrize(
    ("sent", "rows"),
    [
        # a LOINC code that analytes.csv knows, in its own unit and in one that a factor converts
        (code("2160-0", "mg/dL"), [(LOINC, "2160-0", "2160-0", "mg/dL", "", "Ada")]),
        (
            code("2160-0", "umol/L", "mg/dL"),
            [(LOINC, "2160-0", "2160-0", "umol/L", "", "Ada"), (LOINC, "2160-0", "2160-0", "mg/dL", "", "Ada")],
        ),
        (code("2160-0", "mg/dL", system="LN"), [("LN", "2160-0", "2160-0", "mg/dL", "", "Ada")]),
        (code("2160-0", "mg/dL", "furlong", ""), [(LOINC, "2160-0", "2160-0", "mg/dL", "", "Ada")]),
        # the same without any unit that converts, and what only looks like it
        (
            code("2160-0", "furlong"),
            [(LOINC, "2160-0", "out_of_scope", "", f"{TO_DECIDE}: 3 records, furlong (3)", "")],
        ),
        (code("2160-0", ""), [(LOINC, "2160-0", "out_of_scope", "", f"{TO_DECIDE}: 3 records, no unit (3)", "")]),
        (
            code("2160-0", "mg/dL", system="urn:lab", records=1),
            [("urn:lab", "2160-0", "out_of_scope", "", f"{TO_DECIDE}: 1 record, mg/dL (1)", "")],
        ),
        (code("1-1", "mg/dL"), [(LOINC, "1-1", "out_of_scope", "", f"{TO_DECIDE}: 3 records, mg/dL (3)", "")]),
        # further units of a code that codes.csv knows
        (code("CREA", "umol/L", system="", loinc="2160-0"), [("", "CREA", "2160-0", "umol/L", "", "Ada")]),
        (code("CREA", "furlong", "", system="", loinc="2160-0"), []),
        (code("PAIN", "{score}", system="", loinc="72514-3"), []),
        # many units are counted, and long ones cut
        (
            code("X", *(f"u{number}" for number in range(7)), "u" * 90),
            [
                (
                    LOINC,
                    "X",
                    "out_of_scope",
                    "",
                    f"{TO_DECIDE}: 3 records, u0 (3), u1 (3), u2 (3), u3 (3), u4 (3) and 3 more",
                    "",
                )
            ],
        ),
        (
            code("X", "u" * 90),
            [(LOINC, "X", "out_of_scope", "", f"{TO_DECIDE}: 3 records, {'u' * 23}… (3)", "")],
        ),
        # what no person can read is no code
        (code("x" * 101, "mg/dL"), []),
        (code("a\x1b[2Jb", "mg/dL"), []),
        (code("a\nb", "mg/dL", system="urn:lab"), []),
    ],
)
def test_a_code_is_answered_as_far_as_the_house_knows(sent: UndecidedCode, rows: list[tuple[str, ...]]) -> None:
    [answer] = answer_codes([sent], "Ada")
    assert list(answer.rows) == rows
    assert answer.is_to_decide == any(TO_DECIDE in row[4] for row in rows)


def test_a_unit_that_no_factor_converts_is_named() -> None:
    strange = code("2160-0", "mg/dL", "furlong", "")
    assert answer_codes([strange], "Ada")[0].strange_units == ("furlong", "")
    assert answer_codes([code("CREA", "furlong", loinc="2160-0")], "Ada")[0].strange_units == ("furlong",)
    assert answer_codes([code("CREA", "furlong", system="urn:lab")], "Ada")[0].strange_units == ()


def test_a_row_that_is_to_be_decided_is_refused_with_its_line_until_a_person_has_filled_it(tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"
    rows = codes_file(answer_codes([code("2160-0", "mg/dL"), code("COL", "", system="urn:lab")], "Ada"))
    file.write_text(rows)
    with pytest.raises(WrongUsage, match="COL is still TO DECIDE") as caught:
        load_codes(tmp_path)
    assert caught.value.where.endswith("codes.csv, line 3")
    marked = f'"{TO_DECIDE}: 3 records, no unit (3)",'
    assert marked in rows
    for half_filled, says in (
        (f"{marked}Ada", "still TO DECIDE"),
        ("no view draws on it,", "without reason or owner"),
        (",Ada", "without reason or owner"),
        (" , ", "without reason or owner"),
    ):
        file.write_text(rows.replace(marked, half_filled))
        with pytest.raises(WrongUsage, match=says):
            load_codes(tmp_path)
    file.write_text(rows.replace(marked, "no view draws on it,Ada"))
    assert [meaning.loinc for meaning in load_codes(tmp_path)] == ["2160-0", None]


def test_a_person_may_map_the_code_instead_and_must_take_the_mark_away(tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"
    rows = codes_file(answer_codes([code("GLU", "mmol/L", system="urn:lab")], "Ada"))
    mapped = rows.replace("out_of_scope,,", "2345-7,mmol/L,")
    file.write_text(mapped)
    with pytest.raises(WrongUsage, match="GLU is still TO DECIDE"):
        load_codes(tmp_path)
    file.write_text(mapped.replace(f'"{TO_DECIDE}: 3 records, mmol/L (3)"', "as the laboratory says"))
    [meaning] = load_codes(tmp_path)
    assert (meaning.loinc, meaning.units[0].factor) == ("2345-7", 18.016)


def test_a_file_of_decisions_is_never_written_over(tmp_path: Path) -> None:
    answers = answer_codes([code("GLU", "mmol/L", system="urn:lab")], "Ada")
    write_codes_file(tmp_path / "new.csv", answers)
    (tmp_path / "new.csv").write_text("decided")
    with pytest.raises(Refused, match="may hold decisions"):
        write_codes_file(tmp_path / "new.csv", answers)
    assert (tmp_path / "new.csv").read_text() == "decided"


UNITS = st.one_of(
    st.sampled_from(sorted({unit for _, unit in load_unit_factors()} | {"mg/dL", ""})), st.text(max_size=9)
)
SENT = st.builds(
    UndecidedCode,
    local_system=st.one_of(st.sampled_from([LOINC, "LN", ""]), st.text(max_size=9)),
    local_code=st.one_of(st.sampled_from(sorted(load_analytes())), st.text(max_size=9)),
    loinc=st.none(),
    records=st.integers(1, 9),
    units=st.dictionaries(UNITS, st.integers(1, 9), min_size=1, max_size=3),
)


@given(st.lists(SENT, max_size=6, unique_by=lambda sent: (sent.local_system, sent.local_code)))
def test_whatever_was_sent_the_filled_file_loads_appended_to_another_and_names_each_code(
    tmp_path_factory: pytest.TempPathFactory, sent: list[UndecidedCode]
) -> None:
    folder = tmp_path_factory.mktemp("source")
    before = "urn:before,A,2160-0,mg/dL,,Ada\n"
    answers = answer_codes(sent, "Ada")
    rows = list(csv.reader(io.StringIO(codes_file(answers))))
    assert [tuple(row) for row in rows[1:]] == [row for answer in answers for row in answer.rows]
    filled = io.StringIO()
    writer = csv.writer(filled, lineterminator="\n")
    writer.writerows([*row[:4], "no view", "Ada"] if TO_DECIDE in row[4] else row for row in rows)
    (folder / "codes.csv").write_text(HEAD + before + filled.getvalue(), encoding="utf-8", newline="")
    meanings = {(meaning.local_system, meaning.local_code): meaning for meaning in load_codes(folder)}
    written = [answer for answer in answers if answer.rows]
    assert meanings.keys() == {("urn:before", "A")} | {(a.code.local_system, a.code.local_code) for a in written}
    for answer in written:
        meaning = meanings[answer.code.local_system, answer.code.local_code]
        assert {unit.sent for unit in meaning.units} == {row[3] for row in answer.rows} - {""}
