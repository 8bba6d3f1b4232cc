"""What a PACS, or a file, can send to fill memory or disk, or to go on for ever: refused with a reason, in bounds."""

import gzip
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from integrations.dicomweb import brought
from integrations.errors import RoundsError
from tests.integrations.dicomweb.conftest import FEED, PACS, ReadingRoom, study
from tests.integrations.dicomweb.front import Bad, in_front

pytestmark = pytest.mark.xdist_group("pacs")

MOST_MB = 280  # by which the memory of a process may grow
SMALL = PACS + "limits: {largest_file: 1MB, largest_unpacked: 64MB, most_files: 100}\n"
SHORT = SMALL.replace("1MB", "1MB, longest_line: 1MB")


def told(work: Callable[[], object]) -> tuple[str, float]:
    """Do it in a process of its own; return what it ended with, and by how many MB its memory grew at most."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        said, begun = "done", _peak_mb()
        try:
            work()
        except RoundsError as error:
            said = str(error)
        except BaseException as error:
            said = f"uncaught {type(error).__name__}"
        os.write(writer, json.dumps([said, _peak_mb() - begun]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as heard:
        said, grown = json.loads(heard.read())
    os.waitpid(pid, 0)
    return said, grown


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def endless(kind: str, number: int) -> Bad:
    """Another page of studies whatever is asked, or another series."""
    some = [study(f"1.2.{number}.{n}", NumberOfStudyRelatedSeries=None) for n in range(500)]
    if kind == "series":
        some = [{"0020000E": {"vr": "UI", "Value": [f"1.{number}.{n}"]}} for n in range(20)]
    return Bad("say", status=200, body=json.dumps(some).encode())


def one_page(body: bytes) -> Callable[[str, int], Bad | None]:
    """A PACS that says this to whatever it is asked."""
    return lambda _kind, _number: Bad("say", status=200, body=body)


PAGES: dict[str, tuple[str, Callable[[str, int], Bad | None], str]] = {
    "a page too long": (SMALL, one_page(b'[{"a":"' + b"x" * (40 << 20) + b'"}]'), "answer is longer than 33,554,432"),
    "a page of many values": (SMALL, one_page(b"[" + b"0," * 700_000 + b"0]"), "holds more values"),
    "a page that is deep": (SMALL, one_page(b"[" * 3_000 + b"]" * 3_000), "lies deeper"),
    "the same page for ever": (
        SMALL,
        one_page(json.dumps([study("1.1"), study("1.2")]).encode()),
        "the same page again",
    ),
    "the same lone study for ever": (SMALL, one_page(json.dumps([study("1.1")]).encode()), "the same page again"),
    "pages without end": (SMALL.replace("page_size: 7", "asks_series: false"), endless, "more than one file may"),
    "series without end": (SMALL, endless, "more than 100 series"),
}


@pytest.mark.parametrize("bomb", PAGES)
def test_a_bomb_of_a_pacs_is_refused_with_a_reason_in_bounded_memory(room: ReadingRoom, bomb: str) -> None:
    contract, plan, sentence = PAGES[bomb]
    room.write_contract(contract)
    with in_front(plan=plan) as front:
        said, grown = told(lambda: room.fetch(front.base_url))
        asked = front.asked.total()
    print(f"{bomb}: grown by {grown:.0f} MB after {asked} requests, {said.splitlines()[0]}")
    assert sentence in said
    assert grown < MOST_MB
    assert asked < 1_000
    size = sum(path.stat().st_size for path in (room.home / "exports").rglob("*") if path.is_file())
    assert size < 2 << 20


def write(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir()
    (folder / name).write_bytes(content)
    return folder


FILES: dict[str, tuple[str, bytes, str]] = {
    "a file too large": ("a.ndjson", b"\n" * (2 << 20), "a file is larger than 1,048,576 bytes"),
    "an array too long": ("a.json", b"[" + b" " * (1 << 20) + b"]", "a JSON array is longer than 1,048,576 bytes"),
    "a packed file": ("a.ndjson.gz", gzip.compress(b" " * (80 << 20)), "packed files come to more than they may"),
    "a packed array": ("a.json.gz", gzip.compress(b"[" + b" " * (40 << 20)), "a JSON array is longer"),
    "a packed file cut off": ("a.ndjson.gz", gzip.compress(b"x" * 9_000)[:-9], "cut off or broken"),
}


@pytest.mark.parametrize("bomb", FILES)
def test_a_bomb_in_a_file_is_refused_with_a_reason_in_bounded_memory(
    room: ReadingRoom, tmp_path: Path, bomb: str
) -> None:
    name, content, sentence = FILES[bomb]
    room.write_contract(SHORT.replace("largest_file: 1MB", "largest_file: 900MB") if "file too" not in bomb else SHORT)
    place = write(tmp_path / "brought", name, content)
    said, grown = told(lambda: room.ward.ingest(place, source=FEED))
    print(f"{bomb}: grown by {grown:.0f} MB, {said.splitlines()[0]}")
    assert sentence in said
    assert grown < MOST_MB
    assert not list(room.ward.places.landing.glob("pacs/*"))


def test_lines_beyond_the_limits_are_quarantined_and_their_neighbours_taken(room: ReadingRoom, tmp_path: Path) -> None:
    room.write_contract(PACS + "limits: {longest_line: 2MB, deepest_json: 20}\n")
    room.know("m1")
    long = b'{"a":"' + b"x" * (9 << 20) + b'"}'
    deep = b'{"a":' + b"[" * 50 + b"]" * 50 + b"}"
    lines = [
        long,
        json.dumps(study()).encode(),
        deep,
        b"[" + b"0," * 600_000 + b"0]",
        json.dumps(study("1.3")).encode(),
    ]
    place = write(tmp_path / "brought", "a.ndjson", b"\n".join([*lines, long]))
    account = room.ward.ingest(place, source=FEED).accounts["imaging_study"]
    assert (account.received, account.mapped, account.quarantined) == (6, 2, 4)
    assert room.ward.reasons() == {"beyond_limits": 4}
    [landed] = room.ward.places.landing.glob("pacs/*/a.ndjson")
    assert landed.stat().st_size < 2_000


def test_without_its_bound_a_long_line_is_read_whole(
    room: ReadingRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.write_contract(PACS + "limits: {longest_line: 64KB}\n")
    monkeypatch.setattr(brought, "_line_by_line", lambda chunks, *_: iter(b"".join(chunks).split(b"\n")))
    place = write(tmp_path / "brought", "a.ndjson", b'{"a":"' + b"x" * (9 << 20) + b'"}')
    room.ward.ingest(place, source=FEED)
    [landed] = room.ward.places.landing.glob("pacs/*/a.ndjson")
    assert landed.stat().st_size > 9 << 20
