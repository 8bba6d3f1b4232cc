"""What a server can send to fill memory or disk: refused with a reason, in bounded memory."""

import gzip
import json
import os
import resource
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from integrations.errors import RoundsError
from integrations.fhir.export import download
from integrations.fhir.export.fetch import desk_of, fetch
from integrations.limits import Limits
from integrations.synthetic_hospital.ehr_server import EhrServer
from tests.integrations.fhir.export.conftest import FEED, House, MakeEhr

pytestmark = pytest.mark.xdist_group("bombs over HTTP")

MOST_MB = 512
OWN_MB = 230  # of a process that has only just begun to fetch; one forked from a suite of tests begins with more
SMALL = Limits(largest_file="4MB", largest_unpacked="64MB", most_files=100)  # type: ignore[arg-type]


class Bomber(EhrServer):
    """A server whose files, manifest or pages are not what they seem."""

    file: Path | None = None
    links = 0

    def opened(self, job_id: str, number: int) -> BinaryIO:
        return self.file.open("rb") if self.file else super().opened(job_id, number)

    def manifest(self, job_id: str) -> dict[str, Any]:
        said = super().manifest(job_id)
        return said | {"output": said["output"][:1] * self.links} if self.links else said


@pytest.fixture
def bomber(make_ehr: MakeEhr) -> Bomber:
    honest = make_ehr()
    ehr = Bomber(shelf=honest.shelf, now=honest.now, jwks=honest.jwks, polls=0)
    return ehr


def told(house: House, ehr: EhrServer, limits: Limits, method: str = "bulk") -> tuple[str, float]:
    """Fetch in a process of its own; return what it ended with, and by how many MB its memory grew at most."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        said, begun = "fetched", peak_mb()
        try:
            with desk_of(FEED, house.home / "exports") as desk, house.server(ehr) as server:
                fetch(house.wanted(method=method), server, desk, limits)
        except RoundsError as error:
            said = str(error)
        except BaseException as error:
            said = f"uncaught {type(error).__name__}"
        os.write(writer, json.dumps([said, peak_mb() - begun]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as heard:
        said, grown = json.loads(heard.read())
    os.waitpid(pid, 0)
    return said, grown


def peak_mb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of blanks and one line, packed a thousand to one."""
    path = tmp_path_factory.mktemp("packed") / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(600):
            file.write(b" " * (1 << 20))
        file.write(b'\n{"resourceType": "Patient", "id": "p1"}\n')
    assert path.stat().st_size * 900 < 600 << 20
    return path


@pytest.mark.parametrize(
    ("bomb", "method", "sentence"),
    [
        ("packed", "bulk", "a packed file comes to more than it may"),
        ("large", "bulk", "a file of the export is larger than 4,194,304 bytes"),
        ("links", "bulk", "the server's answer is longer than"),
        ("page", "search", "the server's answer is longer than"),
    ],
)
def test_a_bomb_is_refused_with_a_reason_in_bounded_memory(
    house: House,
    bomber: Bomber,
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bomb: str,
    method: str,
    sentence: str,
) -> None:
    if bomb == "packed":
        bomber.file = packed
    else:
        plant(bomber, bomb, tmp_path, monkeypatch)
    with bomber:
        said, grown = told(house, bomber, SMALL, method)
    print(f"{bomb}: grown by {grown:.0f} MB, {said.splitlines()[0]}")
    assert sentence in said
    assert grown < MOST_MB - OWN_MB
    assert not list((house.home / "exports" / FEED / "files").glob("Patient*.ndjson*"))


def plant(ehr: Bomber, bomb: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the server send it."""
    if bomb == "large":
        ehr.file = folder / "large"
        with ehr.file.open("wb") as file:
            file.truncate(8 << 20)
    elif bomb == "links":
        ehr.links = 1_000_000
    else:
        line = b'{"resourceType":"Patient","id":"p1","text":"' + b"x" * (70 << 20) + b'"}'
        monkeypatch.setattr(ehr.shelf, "resources", lambda *_: [line])


def test_without_its_bound_the_packed_bomb_goes_off(
    house: House, bomber: Bomber, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomber.file = packed
    monkeypatch.setattr(download, "_pieces", whole)
    monkeypatch.setattr(download, "WHOLE_TRIES", 1)
    with bomber:
        said, grown = told(house, bomber, SMALL)
    print(f"control: grown by {grown:.0f} MB, {said.splitlines()[0]}")
    assert "comes to more than it may" not in said
    assert grown > MOST_MB


def whole(path: Path, *_more: Any, **_options: Any) -> list[bytes]:
    """Unpack a file at once."""
    return [gzip.decompress(path.read_bytes())]
