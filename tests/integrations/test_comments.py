"""Comments of a YAML file reach the page: each belongs to the entry below it."""

from pathlib import Path

from integrations.comments import comments

FILE = """\
# What the file is.
# Two lines are one text.
owner: someone
tables:
  # why the rule is so
  history: {available_at: always, plus: 2h}

  # --- a chapter ---

  stories:
    - name: first
    # of the second
    - {name: second, note: none}
    - {name: third}
"""


def test_a_comment_belongs_to_the_entry_below_it_and_to_nothing_on_the_rest_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "said.yaml").write_text(FILE)
    assert comments(tmp_path / "said.yaml") == {
        (): "What the file is. Two lines are one text.",
        ("owner",): "What the file is. Two lines are one text.",
        ("tables", "history"): "why the rule is so",
        ("tables", "stories"): "--- a chapter ---",
        ("tables", "stories", 1): "of the second",
    }


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    assert comments(tmp_path / "empty.yaml") == {}
