"""What stands once in a view's SQL and is written out for every word of its header."""

from pathlib import Path

import pytest

from features.definitions import VIEWS, view
from features.repeated import BEGIN, END, expanded, repeated_parts, words_of
from integrations.errors import WrongUsage

FILE = Path("views/mine.sql")
WORDS = words_of("8867-4 pulse per_min, 59408-5 oxygen percent, 2708-6 oxygen percent", FILE)
SQL = """select
    -- for each {word}
    max(v) filter (where code in ({codes}))
        as {word}_last_{unit}, -- the last
    -- end
from t
where code in ({all_codes})
"""


def test_a_repeated_part_is_written_out_for_each_word_in_the_order_of_the_header() -> None:
    assert expanded(SQL, WORDS, FILE).splitlines() == [
        "select",
        "    max(v) filter (where code in ('8867-4'))",
        "        as pulse_last_per_min, -- the last",
        "    max(v) filter (where code in ('59408-5', '2708-6'))",
        "        as oxygen_last_percent, -- the last",
        "from t",
        "where code in ('8867-4', '59408-5', '2708-6')",
    ]


def test_what_is_not_repeated_stays_as_it_is() -> None:
    plain = "-- a comment\nselect a[1] from t\n"
    assert expanded(plain, WORDS, FILE) == plain
    assert repeated_parts(plain) == ()
    assert len(repeated_parts(SQL)) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"    {END}\n", "", r"for each \{word\}' without its other line\nwhere: views/mine.sql:2"),
        (f"    {BEGIN}\n", "", r"end' without its other line\nwhere: views/mine.sql:4"),
        ("from t", f"    {BEGIN}\n    {BEGIN}\n    {END}\nfrom t", r"without its other line\nwhere: views/mine.sql:7"),
        ("from t", f"    {END}\nfrom t", r"without its other line\nwhere: views/mine.sql:6"),
        ("{codes}", "{code}", r"\{code\} is not put in here\nwhere: views/mine.sql:3\ndo: here can stand \{word\}"),
        (
            "{all_codes}",
            "{codes}",
            r"\{codes\} is not put in here\nwhere: views/mine.sql:7\ndo: here can stand \{all_codes\}",
        ),
    ],
)
def test_a_part_that_cannot_be_written_out_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    assert old in SQL
    with pytest.raises(WrongUsage, match=message):
        expanded(SQL.replace(old, new), WORDS, FILE)


def test_a_blank_without_a_code_or_a_unit_to_put_in_is_refused() -> None:
    with pytest.raises(WrongUsage, match="the header names no code"):
        expanded(SQL, (), FILE)
    with pytest.raises(WrongUsage, match="pulse without a unit"):
        expanded(SQL, words_of("8867-4 pulse", FILE), FILE)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ("8867-4", "'8867-4': a code of the header stands without its word"),
        ("8867-4 pulse per_min, 8867-4 rate per_min", "names 8867-4 twice"),
        ("59408-5 oxygen percent, 2708-6 oxygen mm_hg", "or oxygen in two units"),
    ],
)
def test_a_code_that_cannot_be_read_or_contradicts_another_is_refused(codes: str, message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        words_of(codes, FILE)


def test_an_analyte_is_added_by_one_line_of_the_header(tmp_path: Path) -> None:
    sql = (VIEWS / "vital_signs.sql").read_text(encoding="utf-8")
    line = "-- codes: 8310-5 temperature cel\n"
    assert line in sql
    (tmp_path / "mine.sql").write_text(sql.replace(line, f"{line}-- codes: 8462-4 diastolic_pressure mm_hg\n"))
    before, after = view("vital_signs"), view("mine", tmp_path)
    added = [feature for feature in after.features if feature not in before.features]
    assert [(each.name, each.unit) for each in added] == [
        (f"diastolic_pressure_{what}_mm_hg", "mm[Hg]") for what in ("last", "lowest", "highest")
    ]
    assert after.codes == (*before.codes, "8462-4")
    assert after.version != before.version
