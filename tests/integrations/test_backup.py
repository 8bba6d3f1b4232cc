"""All of ROUNDS_HOME goes into one file and comes back byte for byte, or not at all."""

import io
import json
import os
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from integrations.backup import Backup, backup
from integrations.errors import EnvironmentFault, NotInOrder, Refused
from integrations.hl7v2.inbox import inbox_of, sealed_files
from integrations.hl7v2.mllp import framed
from integrations.records import Records, audit, open_records
from integrations.restore import restore

NIGHT = datetime(2024, 7, 1, 3, tzinfo=UTC)
FILES = {
    "landing/demo_ehr/Patient.ndjson": b'{"resourceType":"Patient"}\n',
    "lake/observation/_delta_log/00000.json": b"{}",
    "lake/observation/bucket=1/a.parquet": b"PAR1",
    "secrets/namespace": b"for our eyes only",
    "settings.yaml": b"",
}


@pytest.fixture
def filled(home: Path, sqlite_records: Records) -> Path:
    """A home with records, another database, files, and things that are only of the moment."""
    with sqlite_records.begin() as connection:
        audit.append(connection, kind="sent", body={}, at=NIGHT)
    for name, content in {**FILES, "tmp/spill.bin": b"of the moment"}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    (home / "mlflow").mkdir()
    database = sqlite3.connect(home / "mlflow" / "mlflow.db")
    database.executescript("create table t (x); insert into t values (1)")
    database.close()
    return home


def members(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


def rewritten(archive: Path, change: Callable[[str, bytes], list[tuple[tarfile.TarInfo, bytes]]]) -> Path:
    """The archive after somebody's hand went over it, member by member."""
    forged = archive.with_name("forged.tar")
    with tarfile.open(archive) as tar, tarfile.open(forged, "w") as into:
        for member in tar:
            source = tar.extractfile(member)
            for info, content in change(member.name, source.read() if source else b""):
                info.size = len(content)
                into.addfile(info, io.BytesIO(content))
    return forged


def test_a_backup_comes_back_byte_for_byte(filled: Path, sqlite_records: Records, tmp_path: Path) -> None:
    made = backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    back = tmp_path / "back" / "home"
    assert restore(tmp_path / "b.tar", back) == made
    assert {name: (back / name).read_bytes() for name in FILES} == FILES
    assert sorted(path.name for path in back.iterdir()) == [
        "lake", "landing", "mlflow", "records.db", "secrets", "settings.yaml",
    ]  # fmt: skip
    again = open_records(f"sqlite:///{back / 'records.db'}")
    with again.read() as connection:
        assert [entry.kind for entry in audit.entries(connection)] == ["sent"]
    again.close()
    assert made.file_count == len(FILES) + 2


def test_archive_and_restored_files_are_for_their_owner_alone(
    filled: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    restore(tmp_path / "b.tar", tmp_path / "back")
    assert stat.S_IMODE((tmp_path / "b.tar").stat().st_mode) == 0o600
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "back").rglob("*")}
    assert modes == {True: 0o700, False: 0o600}
    assert stat.S_IMODE((tmp_path / "back").stat().st_mode) == 0o700


def test_records_come_first_and_a_table_s_log_before_its_files(
    filled: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    names = members(tmp_path / "b.tar")
    assert names[:3] == ["home/records.db", "home/mlflow/mlflow.db", "home/lake/observation/_delta_log/00000.json"]
    assert names[-1] == "manifest.json"


def test_the_kept_head_of_the_chain_comes_before_the_records_that_must_reach_it(
    filled: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    (filled / "audit_head").write_text("1:abc")
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    assert members(tmp_path / "b.tar")[:2] == ["home/audit_head", "home/records.db"]


def test_the_manifest_keeps_the_end_of_the_audit_chain(filled: Path, sqlite_records: Records, tmp_path: Path) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    with tarfile.open(tmp_path / "b.tar") as tar:
        source = tar.extractfile("manifest.json")
        manifest = json.load(source) if source else {}
    with sqlite_records.read() as connection:
        end = audit.head(connection)
    assert manifest["audit"] == {"seq": 1, "hash": end.hash}
    assert (manifest["made_at"], manifest["left_out"]) == (NIGHT.isoformat(), [])


def test_a_database_is_copied_in_one_state_while_another_writes(
    filled: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    writer = sqlite3.connect(filled / "mlflow" / "mlflow.db", isolation_level=None)
    writer.execute("begin immediate")
    writer.execute("insert into t values (2)")
    assert (filled / "mlflow" / "mlflow.db-journal").exists()
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    writer.close()
    restore(tmp_path / "b.tar", tmp_path / "back")
    copy = sqlite3.connect(tmp_path / "back" / "mlflow" / "mlflow.db")
    assert copy.execute("select x from t").fetchall() == [(1,)]
    copy.close()
    assert "home/mlflow/mlflow.db-journal" not in members(tmp_path / "b.tar")


def test_a_listener_that_seals_meanwhile_does_not_spoil_a_backup(
    filled: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    told = b"MSH|what was acknowledged"
    with inbox_of("lab", filled / "landing") as inbox:
        inbox.append([told], NIGHT)

        class SealsNow(Records):
            def read(self) -> AbstractContextManager[Connection]:
                inbox.seal()
                return super().read()

        records = SealsNow(sqlite_records.engine)
        backup(filled, tmp_path / "b.tar", records=records, as_of=NIGHT)
        assert not any((filled / "landing" / "lab" / ".inbox" / "open").iterdir())
    restore(tmp_path / "b.tar", tmp_path / "again")
    [file] = sealed_files("lab", tmp_path / "again" / "landing")
    assert file.read_bytes() == framed(told)


def test_a_backup_into_the_home_does_not_hold_itself(filled: Path, sqlite_records: Records) -> None:
    backup(filled, filled / "b.tar", records=sqlite_records, as_of=NIGHT)
    assert not [name for name in members(filled / "b.tar") if "b.tar" in name]


def test_records_in_postgres_are_left_out_and_named(home: Path, postgres_records: Records, tmp_path: Path) -> None:
    (home / "settings.yaml").write_text("")
    planned = backup(home, tmp_path / "b.tar", records=postgres_records, as_of=NIGHT, dry_run=True)
    assert planned == Backup(
        file_count=1,
        byte_count=0,
        left_out=("the records: they are in Postgres, which its own tools back up (pg_dump)",),
    )
    assert backup(home, tmp_path / "b.tar", records=postgres_records, as_of=NIGHT) == planned
    assert restore(tmp_path / "b.tar", tmp_path / "back") == planned


def test_a_link_and_records_elsewhere_are_left_out_and_named(tmp_path: Path, sqlite_records: Records) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "way").symlink_to("/nowhere")
    made = backup(other, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    assert made.left_out == ("the records: their file is not in ROUNDS_HOME", "way: a link")


def test_the_plan_of_a_dry_run_is_what_the_run_then_does(filled: Path, sqlite_records: Records, tmp_path: Path) -> None:
    planned = backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT, dry_run=True)
    assert not (tmp_path / "b.tar").exists()
    assert backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT) == planned
    assert restore(tmp_path / "b.tar", tmp_path / "back", dry_run=True) == planned
    assert not (tmp_path / "back").exists()
    assert restore(tmp_path / "b.tar", tmp_path / "back") == planned


def test_nothing_is_overwritten(filled: Path, sqlite_records: Records, tmp_path: Path) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    before = (tmp_path / "b.tar").read_bytes()
    with pytest.raises(Refused, match="overwrites nothing"):
        backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    with pytest.raises(Refused, match="folder of the backup"):
        backup(filled, tmp_path / "none" / "b.tar", records=sqlite_records, as_of=NIGHT)
    with pytest.raises(Refused, match="empty home only"):
        restore(tmp_path / "b.tar", filled)
    with pytest.raises(Refused, match="no such backup"):
        restore(tmp_path / "none.tar", tmp_path / "back")
    assert (tmp_path / "b.tar").read_bytes() == before


def test_an_empty_home_is_filled(filled: Path, sqlite_records: Records, tmp_path: Path) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    (tmp_path / "back").mkdir()
    restore(tmp_path / "b.tar", tmp_path / "back")
    assert (tmp_path / "back" / "secrets" / "namespace").read_bytes() == FILES["secrets/namespace"]


def _refused(archive: Path, folder: Path, words: str) -> None:
    """Whatever is wrong with an archive: it is said, and nothing lies in the home or beside it."""
    before = sorted(folder.rglob("*"))
    for dry_run in (True, False):
        with pytest.raises(NotInOrder, match=words):
            restore(archive, folder / "back", dry_run=dry_run)
    assert sorted(folder.rglob("*")) == before


def test_a_changed_missing_or_added_file_is_found_before_anything_is_in_place(
    filled: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    secret = "home/secrets/namespace"

    def as_it_was(name: str, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [(tarfile.TarInfo(name), content)]

    def changed(name: str, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        return as_it_was(name, content[::-1] if name == secret else content)

    def missing(name: str, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [] if name == secret else as_it_was(name, content)

    def added(name: str, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        return as_it_was(name, content) + (as_it_was(f"{name}.pub", content) if name == secret else [])

    assert restore(rewritten(tmp_path / "b.tar", as_it_was), tmp_path / "back", dry_run=True).file_count == 7
    for change in (changed, missing, added):
        _refused(rewritten(tmp_path / "b.tar", change), tmp_path, "1 files are missing, added or changed")


@pytest.mark.parametrize("name", ["home/../../escaped", "home//escaped", "elsewhere"])
def test_a_member_that_leaves_the_home_is_refused(
    filled: Path, sqlite_records: Records, tmp_path: Path, name: str
) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    forged = rewritten(tmp_path / "b.tar", lambda _, content: [(tarfile.TarInfo(name), content)])
    _refused(forged, tmp_path, "not a whole backup")


def test_a_link_in_an_archive_is_refused(filled: Path, sqlite_records: Records, tmp_path: Path) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    link = tarfile.TarInfo("home/way")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    forged = rewritten(tmp_path / "b.tar", lambda name, content: [(link, b""), (tarfile.TarInfo(name), content)])
    _refused(forged, tmp_path, "not a whole backup")


def test_half_an_archive_and_a_letter_are_no_backups(filled: Path, sqlite_records: Records, tmp_path: Path) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    whole = (tmp_path / "b.tar").read_bytes()
    for name, content in (("half.tar", whole[: len(whole) // 2]), ("letter.tar", b"dear sir"), ("empty.tar", b"")):
        (tmp_path / name).write_bytes(content)
        _refused(tmp_path / name, tmp_path, "not a whole backup")


def test_a_backup_that_fails_leaves_no_half_of_it(filled: Path, sqlite_records: Records, tmp_path: Path) -> None:
    (filled / "mlflow" / "mlflow.db").write_bytes(b"SQLite format 3\0 and then a letter")
    with pytest.raises(EnvironmentFault, match="was not completed"):
        backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_a_home_that_cannot_be_put_in_place_leaves_nothing_beside_it(
    filled: Path, sqlite_records: Records, tmp_path: Path
) -> None:
    backup(filled, tmp_path / "b.tar", records=sqlite_records, as_of=NIGHT)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(EnvironmentFault, match="cannot be put in place"):
        restore(tmp_path / "b.tar", tmp_path / "loop")
    assert not list(tmp_path.glob(".loop*"))
    assert os.readlink(tmp_path / "loop") == str(tmp_path / "loop")
