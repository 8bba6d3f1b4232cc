"""Files as lines: whatever bytes a sender writes, every line keeps its number and none stops the rest."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from integrations.fhir.lines import CHUNK, LineStream, named, sent_lines
from integrations.limits import Limits
from integrations.sent import KEPT

LIMITS = Limits(longest_line=3 * CHUNK)


def lines_of(*files: Path, limits: Limits = LIMITS) -> list[tuple[Any, ...]]:
    stream = LineStream(named(files, None), limits=limits)
    return [tuple(row.values())[:3] for batch in stream.batches() for row in batch.to_pylist()]


def texts(folder: Path, content: bytes) -> list[tuple[int, str | None]]:
    file = folder / "sent.ndjson"
    file.write_bytes(content)
    return [(number, text and text.strip()) for _, number, text in lines_of(file)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", []),
        (b"\n \n\t\n", []),
        (b"a\nb\n", [(1, "a"), (2, "b")]),
        (b"a\nb", [(1, "a"), (2, "b")]),
        (b"a\r\nb\r\n", [(1, "a"), (2, "b")]),
        (b"\xef\xbb\xbfa\n", [(1, "a")]),
        (b"a\n\n  \r\nb\n\n", [(1, "a"), (4, "b")]),
        (b"  a\n", [(1, "a")]),
        ("ä\nöü\n".encode(), [(1, "ä"), (2, "öü")]),
        (b"a\n\xff\xfe\nb\n", [(1, "a"), (2, None), (3, "b")]),
        (b"a\n\n\xff\nb", [(1, "a"), (3, None), (4, "b")]),
        ("\xe4\n".encode("latin-1"), [(1, None)]),
        (b"a\x00b\n", [(1, "a\x00b")]),
    ],
)
def test_lines_keep_their_number(tmp_path: Path, content: bytes, found: list[tuple[int, str | None]]) -> None:
    assert texts(tmp_path, content) == found


def test_a_line_longer_than_a_chunk_is_whole(tmp_path: Path) -> None:
    long = "x" * (2 * CHUNK + 5)
    assert texts(tmp_path, f"a\n{long}\nb\n".encode()) == [(1, "a"), (2, long), (3, "b")]


@pytest.mark.parametrize("end", [b"\nb\n", b""])
def test_a_line_longer_than_the_limit_is_a_line_that_cannot_be_read(tmp_path: Path, end: bytes) -> None:
    found = texts(tmp_path, b"a\n" + b"x" * (LIMITS.longest_line + CHUNK + 5) + end)
    assert found == [(1, "a"), (2, None), (3, "b")][: 3 if end else 2]


def test_lines_are_numbered_anew_in_each_file_across_chunks(tmp_path: Path) -> None:
    count = CHUNK // 8
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"".join(b"%09d\n" % number for number in range(1, count + 1)))
    found = lines_of(tmp_path / "one", tmp_path / "two")
    assert [row[0] for row in found] == ["one"] * count + ["two"] * count
    assert all(number == int(text) for _, number, text in found)


def test_a_file_is_named_by_its_path_below_the_root(tmp_path: Path) -> None:
    file = tmp_path / "night" / "Patient.ndjson"
    assert named([file], tmp_path) == [("night/Patient.ndjson", file)]
    assert named([file], None) == [("Patient.ndjson", file)]


def test_the_bytes_of_a_line_can_be_fetched(tmp_path: Path) -> None:
    file = tmp_path / "sent.ndjson"
    long = b"x" * (2 * KEPT + 5)
    file.write_bytes(b"a\r\n\n\xff\n" + long + b"\nlast")
    found = {line.number: line for line in sent_lines(file, {1, 3, 4, 5, 9})}
    assert {number: line.head for number, line in found.items()} == {1: b"a", 3: b"\xff", 4: long[:KEPT], 5: b"last"}
    assert found[4].sha256 == hashlib.sha256(long).hexdigest()
    assert [line.head for line in sent_lines(file, {5})] == [b"last"]


def test_a_blank_line_of_any_length_is_no_line(tmp_path: Path) -> None:
    blank = b" " * (LIMITS.longest_line + 2 * CHUNK)
    assert texts(tmp_path, b"a\n" + blank + b"\nb\n" + b"\n" * 100_000 + b" \t\nc\n" + blank) == [
        (1, "a"),
        (3, "b"),
        (100_005, "c"),
    ]


def test_of_a_heavy_line_what_the_view_reads_is_handed_on(tmp_path: Path) -> None:
    file = tmp_path / "sent.ndjson"
    heavy = b'{"id":"x","photo":"' + b"x" * (2 << 20) + b'","code":{"n":1}}\n'
    read_too_much = b'{"id":"' + b"x" * (2 << 20) + b'"}\n'
    broken, of_no_object = b'{"id":"' + b"x" * (2 << 20) + b"\n", b"[" + b"1," * 200_000 + b"1]\n"
    file.write_bytes(b'{"id":"first"}\n' + heavy + read_too_much + broken + of_no_object + b'{"id":"last"}\n')
    stream = LineStream(named([file], None), ("id", "code", "status"), LIMITS)
    rows = [tuple(row.values())[1:] for batch in stream.batches() for row in batch.to_pylist()]
    assert rows == [
        (1, '{"id":"first"}\n', False),
        (2, '{"id":"x","code":{"n":1}}', False),
        (3, None, True),
        (4, "{", False),
        (5, "[]", False),
        (6, '{"id":"last"}\n', False),
    ]


@pytest.mark.parametrize(
    ("line", "is_beyond"),
    [
        (b"[" * 20 + b"]" * 20, False),
        (b"[" * 21 + b"]" * 21, True),
        (b'{"a":' * 21 + b"1", True),
        (b"[]" * 100, False),
        (b'["' + b"[" * 100 + b'"]', False),
        (rb'["\"' + b"[" * 100 + b'"]', False),
        (b'["]]]]",' * 21 + b"]" * 21, True),
        (b'"' + rb"\"" * 100_000 + b"[" * 100, False),
    ],
)
def test_depth_is_counted_outside_of_strings(tmp_path: Path, line: bytes, is_beyond: bool) -> None:
    (tmp_path / "sent.ndjson").write_bytes(line)
    stream = LineStream([("sent", tmp_path / "sent.ndjson")], limits=Limits(deepest_json=20))
    [row] = [row for batch in stream.batches() for row in batch.to_pylist()]
    assert row["is_beyond_limits"] == is_beyond


@pytest.mark.parametrize("longest", [10, 100, 2 << 20])
def test_a_line_beyond_a_limit_of_any_size_is_found(tmp_path: Path, longest: int) -> None:
    file = tmp_path / "sent.ndjson"
    file.write_bytes(b"x" * (longest - 1) + b"\n" + b"y" * (longest + 1) + b"\nz\n")
    found = lines_of(file, limits=Limits(longest_line=longest))
    assert [(number, text is None) for _, number, text in found] == [(1, False), (2, True), (3, False)]
