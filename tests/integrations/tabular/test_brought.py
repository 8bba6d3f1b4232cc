"""A zip is an envelope: what is in it is taken as if its folder had been brought, and nothing else is."""

import stat
import zipfile
from pathlib import Path

import pytest

from integrations.errors import Refused
from integrations.limits import Limits
from integrations.tabular.brought import without_envelopes

SMALL = Limits(largest_file=1_000, largest_unpacked=3_000, most_files=6)
STAYS = {"set/1.txt": b"a,b\n1,2\n", "set/2.txt": b"a,b\n3,4\n"}


def envelope(path: Path, files: dict[str, bytes], **changes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = changes.get("mode", 0) << 16
            writer.writestr(member, content)
    return path


def taken(path: Path, home: Path, limits: Limits = SMALL) -> dict[str, bytes]:
    root, _ = without_envelopes(path, home / "needed", limits)
    return {each.relative_to(root).as_posix(): each.read_bytes() for each in sorted(root.rglob("*")) if each.is_file()}


def test_a_zip_gives_the_files_that_are_in_it(tmp_path: Path) -> None:
    assert taken(envelope(tmp_path / "set.zip", STAYS), tmp_path) == STAYS


def test_a_folder_with_a_zip_gives_its_other_files_too_each_where_it_lay(tmp_path: Path) -> None:
    (tmp_path / "sent" / "a").mkdir(parents=True)
    (tmp_path / "sent" / "outcomes.txt").write_bytes(b"x")
    envelope(tmp_path / "sent" / "a" / "set.zip", STAYS)
    expected = {"outcomes.txt": b"x", **{f"a/{name}": content for name, content in STAYS.items()}}
    assert taken(tmp_path / "sent", tmp_path) == expected


def test_what_holds_no_zip_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "1.txt").write_bytes(b"a\n1\n")
    assert without_envelopes(tmp_path / "sent", tmp_path / "needed", SMALL) == (tmp_path / "sent", 0)


@pytest.mark.parametrize(
    ("files", "changes", "problem"),
    [
        ({"../1.txt": b"x"}, {}, "not plain"),
        ({"/etc/1.txt": b"x"}, {}, "not plain"),
        ({"a*b.txt": b"x"}, {}, "not plain"),
        ({"1.txt": b"/etc/passwd"}, {"mode": stat.S_IFLNK | 0o777}, "link or special file"),
        ({"inner.zip": b"x"}, {}, "a zip lies in a zip"),
        ({"1.txt": b"x" * 1_001}, {}, "more than they may"),
        ({f"{n}.txt": b"x" * 999 for n in range(4)}, {}, "more than they may"),
        ({f"{n}.txt": b"x" for n in range(7)}, {}, "more than 6 files"),
    ],
)
def test_what_is_no_plain_file_or_too_much_is_refused(
    tmp_path: Path, files: dict[str, bytes], changes: dict[str, int], problem: str
) -> None:
    with pytest.raises(Refused, match=problem):
        taken(envelope(tmp_path / "set.zip", files, **changes), tmp_path)
    assert not (tmp_path / "1.txt").exists()


def test_a_zip_that_is_cut_off_broken_or_locked_is_refused(tmp_path: Path) -> None:
    whole = envelope(tmp_path / "set.zip", STAYS).read_bytes()
    broken = bytearray(whole)
    broken[len("set/1.txt") + 32] ^= 0xFF
    locked = bytearray(whole)
    for header in (b"PK\x03\x04", b"PK\x01\x02"):
        locked[whole.index(header) + (6 if header[2] == 3 else 8)] |= 1
    for number, (content, problem) in enumerate(
        [(whole[:-30], "cut off or broken"), (bytes(broken), "cut off or broken"), (bytes(locked), "locked")]
    ):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        (tmp_path / str(number)).mkdir()
        with pytest.raises(Refused, match=problem):
            taken(path, tmp_path / str(number))


def test_a_file_that_comes_in_a_zip_and_beside_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sent" / "set").mkdir(parents=True)
    (tmp_path / "sent" / "set" / "1.txt").write_bytes(b"a\n1\n")
    envelope(tmp_path / "sent" / "set.zip", STAYS)
    with pytest.raises(Refused, match="a file twice"):
        taken(tmp_path / "sent", tmp_path)


def test_where_any_name_is_taken_none_is_strange_or_there_twice_and_none_leads_out(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    (sent / "~tmp").mkdir(parents=True)
    (sent / "~tmp" / "a (1).txt").write_bytes(b"1")
    (sent / "b.txt").write_bytes(b"2")
    envelope(sent / "set.zip", {"b.txt": b"3", "b.txt/c": b"4", "Größe.txt": b"5", "__MACOSX/._b.txt": b"6"})
    root, litter_count = without_envelopes(
        sent, tmp_path / "needed", SMALL.model_copy(update={"most_files": 9}), any_name=True
    )
    taken_now = {each.relative_to(root).as_posix(): each.read_bytes() for each in root.rglob("*") if each.is_file()}
    assert litter_count == 1
    assert taken_now == {
        "b.txt": b"2",
        "again-2/b.txt": b"3",
        "again-3/b.txt/c": b"4",
        "Gr__e.txt": b"5",
        "_tmp/a _1_.txt": b"1",
    }
    for name in ("../out.txt", "/etc/out.txt", "a/./out.txt"):
        (tmp_path / "other").mkdir(exist_ok=True)
        envelope(tmp_path / "other" / "set.zip", {name: b"x"})
        with pytest.raises(Refused, match="not plain"):
            without_envelopes(tmp_path / "other", tmp_path / f"needed-{len(name)}", SMALL, any_name=True)
    assert not (tmp_path / "out.txt").exists()
