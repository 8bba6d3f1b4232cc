"""Where an anchor of the audit chain may come from."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from integrations.anchor import read_anchor
from integrations.backup import backup
from integrations.errors import WrongUsage
from integrations.records import Records, audit

NIGHT = datetime(2024, 7, 1, 3, tzinfo=UTC)


def test_what_was_printed_what_was_written_down_and_a_backup_name_the_same_end(
    home: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    with sqlite_records.begin() as connection:
        audit.append(connection, kind="sent", body={}, at=NIGHT)
        head = audit.head(connection)
    (tmp_path / "paper").write_text(f"{head}\n")
    backup(home, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    for given in (str(head), str(tmp_path / "paper"), str(tmp_path / "b.tar")):
        assert read_anchor(given) == head
    assert read_anchor(head.hash).hash == head.hash


@pytest.mark.parametrize("given", ["", "12", "12:", "x:" + "a" * 64, "a" * 63, "paper", "letter.tar"])
def test_what_holds_no_head_is_wrong_usage(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tarfile

    monkeypatch.chdir(tmp_path)
    Path("paper").write_text("dear sir")
    with tarfile.open("letter.tar", "w") as tar:
        tar.add("paper")
    with pytest.raises(WrongUsage):
        read_anchor(given)
