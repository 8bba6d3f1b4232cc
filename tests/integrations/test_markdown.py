"""What others declared stands on a page as they wrote it, whatever characters it holds."""

from datetime import timedelta

import pytest

from integrations.markdown import code, plain, span, table


@pytest.mark.parametrize(
    ("declared", "on_the_page"),
    [
        ("10*3/uL", r"10\*3/uL"),
        ("yes | no", r"yes \| no"),
        ("adds #<code>", "adds #&lt;code>"),
        ("two\n  lines", "two lines"),
        ("in `unit`", "in `unit`"),
    ],
)
def test_no_character_of_a_declared_text_is_taken_for_a_mark(declared: str, on_the_page: str) -> None:
    assert plain(declared) == on_the_page


def test_a_bar_within_code_does_not_end_its_cell() -> None:
    assert code("a|b") == r"`a\|b`"


def test_a_column_that_is_empty_in_every_row_is_left_out() -> None:
    assert table(("a", "b", "c"), [("1", "", "2"), ("3", "", "")]) == "| a | c |\n| --- | --- |\n| 1 | 2 |\n| 3 |  |"


def test_a_table_without_rows_is_nothing() -> None:
    assert table(("a", "b"), []) == ""


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (timedelta(minutes=1), "1 minute"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(days=2), "48 hours"),
        (timedelta(hours=60), "60 hours"),
        (timedelta(days=30), "30 days"),
        (timedelta(), "0 hours"),
    ],
)
def test_a_time_span_is_said_as_at_the_bedside(time: timedelta, said: str) -> None:
    assert span(time) == said
