"""What arrives lies in landing byte for byte, or is refused and leaves nothing behind."""

import gzip
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from integrations.errors import NotInOrder, Refused
from integrations.landing import Landed, arrival, read_landed, settle
from integrations.limits import Limits
from integrations.sent import CHUNK

NIGHT = datetime(2024, 3, 10, 5, tzinfo=UTC)
LINES = b'{"id":"1"}\n\n{"id":"2"}'


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    folder = tmp_path / "sent"
    (folder / "hosp").mkdir(parents=True)
    (folder / "Patient.ndjson").write_bytes(LINES)
    (folder / "hosp" / "labs.csv").write_bytes(b"\xef\xbb\xbfid\n1\n")
    return folder


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "home" / "landing"


def land(sent: Path, landing: Path) -> Landed:
    with arrival("ward", sent, landing) as arrived:
        return settle(arrived, NIGHT)


def refused(sent: Path, landing: Path, match: str) -> None:
    """The extract is refused, and nothing of it is left."""
    with pytest.raises(Refused, match=match):
        land(sent, landing)
    assert not landing.exists() or not [path for path in landing.rglob("*") if path.is_file()]


def test_an_extract_lands_byte_for_byte_with_a_manifest_and_closed_to_others(sent: Path, landing: Path) -> None:
    landed = land(sent, landing)

    assert landed.extract_id == f"ward-20240310T050000Z-{landed.digest[:8]}"
    assert landed == read_landed(landed.folder)
    assert {file.name: file.lines for file in landed.files} == {"Patient.ndjson": 2, "hosp/labs.csv": 2}
    for file in landed.files:
        content = (sent / file.name).read_bytes()
        assert (landed.folder / file.name).read_bytes() == content
        assert (file.sha256, file.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    rights = {oct(path.stat().st_mode & 0o777) for path in landing.rglob("*") if path.is_file()}
    assert rights == {"0o600"}
    assert {oct(path.stat().st_mode & 0o777) for path in (landing, *landing.rglob("*")) if path.is_dir()} == {"0o700"}


def test_a_single_file_lands_too(sent: Path, landing: Path) -> None:
    assert [file.name for file in land(sent / "Patient.ndjson", landing).files] == ["Patient.ndjson"]


def test_the_digest_depends_on_names_and_bytes_alone(sent: Path, landing: Path, tmp_path: Path) -> None:
    first = land(sent, landing)
    os.utime(sent / "Patient.ndjson", (1, 1))
    assert land(sent, tmp_path / "other").digest == first.digest
    (sent / "Patient.ndjson").rename(sent / "Patients.ndjson")
    assert land(sent, tmp_path / "third").digest != first.digest


def test_an_arrival_without_a_place_leaves_nothing_and_so_does_one_that_a_crash_left(sent: Path, landing: Path) -> None:
    (landing / "ward" / ".arriving-crashed").mkdir(parents=True)
    with arrival("ward", sent, landing) as arrived:
        assert (arrived.folder / "Patient.ndjson").exists()
    assert list((landing / "ward").iterdir()) == []


def test_what_lies_there_from_before_a_crash_is_taken_as_it_is(sent: Path, landing: Path) -> None:
    first = land(sent, landing)
    written_at = (first.folder / "manifest.json").stat().st_mtime_ns
    assert land(sent, landing) == first
    assert (first.folder / "manifest.json").stat().st_mtime_ns == written_at


@pytest.mark.parametrize(
    ("manifest", "match"),
    [
        (
            {"output": [{"type": "Patient", "url": "https://ehr/bulk/Patient.ndjson?x=1", "count": 3}]},
            "as many records",
        ),
        ({"output": [{"type": "Patient", "url": "../Other.ndjson"}]}, "did not come"),
        ({"output": [{"type": "Patient", "url": "Patient.ndjson", "count": "two"}]}, "as many records"),
        ({"output": "Patient.ndjson"}, "not as FHIR or Rounds writes one"),
        ({"files": [{"name": "Patient.ndjson", "sha256": "0" * 64}]}, "checksum"),
        ({"files": [{"name": "/etc/passwd", "sha256": "0" * 64}]}, "did not come"),
        ([], "no object"),
    ],
)
def test_an_extract_that_differs_from_its_manifest_is_refused(
    sent: Path, landing: Path, manifest: Any, match: str
) -> None:
    (sent / "manifest.json").write_text(json.dumps(manifest))
    refused(sent, landing, match)


def test_a_manifest_that_is_cut_off_is_refused(sent: Path, landing: Path) -> None:
    (sent / "manifest.json").write_text('{"output": [')
    refused(sent, landing, "no JSON")


def test_an_extract_that_holds_what_its_manifest_says_lands_with_it(sent: Path, landing: Path) -> None:
    manifest = {"since": "2024-03-09", "output": [{"type": "Patient", "url": "Patient.ndjson", "count": 2}]}
    (sent / "manifest.json").write_text(json.dumps(manifest))
    written = json.loads((land(sent, landing).folder / "manifest.json").read_text())
    assert (written["sent_manifest"], written["requested_since"]) == (manifest, "2024-03-09")


def test_an_extract_in_landing_can_land_again_by_its_own_manifest(sent: Path, landing: Path, tmp_path: Path) -> None:
    first = land(sent, landing)
    assert land(first.folder, tmp_path / "again").digest == first.digest
    (first.folder / "Patient.ndjson").write_bytes(LINES + b"\n{}")
    refused(first.folder, tmp_path / "touched", "checksum")


def test_a_packed_file_that_is_cut_off_is_refused(sent: Path, landing: Path) -> None:
    packed = gzip.compress(LINES * 100)
    (sent / "Condition.ndjson.gz").write_bytes(packed[:-9])
    refused(sent, landing, "cut off or broken")
    (sent / "Condition.ndjson.gz").write_bytes(packed)
    assert [file.lines for file in land(sent, landing).files if file.name.endswith(".gz")] == [101]


def test_a_last_line_without_its_end_is_no_reason_to_refuse(sent: Path, landing: Path) -> None:
    (sent / "Patient.ndjson").write_bytes(b'{"id":"1"}\n{"id":')
    assert land(sent, landing).files[0].lines == 2


def test_a_line_longer_than_a_chunk_is_one_line_and_parquet_has_none(sent: Path, landing: Path) -> None:
    (sent / "Patient.ndjson").write_bytes(b" " * (1 << 20) + b"x" * (1 << 20) + b"\nsecond\n")
    (sent / "labs.parquet").write_bytes(b"PAR1\n\n")
    assert {file.name: file.lines for file in land(sent, landing).files} == {
        "Patient.ndjson": 2,
        "hosp/labs.csv": 2,
        "labs.parquet": 0,
    }


def test_links_special_files_and_names_that_are_not_plain_are_refused(sent: Path, landing: Path) -> None:
    (sent / "link.ndjson").symlink_to("/etc/hostname")
    refused(sent, landing, "link or special file")
    (sent / "link.ndjson").unlink()
    os.mkfifo(sent / "pipe")
    refused(sent, landing, "link or special file")
    (sent / "pipe").unlink()
    (sent / "Patient[1].ndjson").write_bytes(LINES)
    refused(sent, landing, "not plain")


def test_a_link_an_empty_folder_and_nothing_at_all_are_refused(sent: Path, landing: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sent)
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "link", landing, "is a link")
    refused(tmp_path / "empty", landing, "holds no file")
    refused(tmp_path / "nowhere", landing, "no such file or folder")


def test_a_landed_extract_without_its_manifest_is_not_in_order(sent: Path, landing: Path) -> None:
    folder = land(sent, landing).folder
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(NotInOrder, match="manifest"):
        read_landed(folder)


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({"most_files": 2}, "more than 2 files and folders"),
        ({"largest_file": 16}, "larger than 16 bytes"),
        ({"largest_unpacked": 2_000}, "packed files come to more"),
    ],
)
def test_what_is_beyond_the_limits_of_the_contract_is_refused(
    sent: Path, landing: Path, limits: dict[str, int], match: str
) -> None:
    for name in ("one", "two"):
        (sent / f"{name}.ndjson.gz").write_bytes(gzip.compress(b"x" * 1_001))
    with pytest.raises(Refused, match=match), arrival("ward", sent, landing, Limits(**limits)):
        pass
    assert [path for path in landing.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("manifest", "match"),
    [
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested too deep"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"files":[' + b"1," * 600_000 + b"1]}", "too large"),
        (b'{"note":"' + b"x" * (17 << 20) + b'"}', "too large"),
    ],
)
def test_a_manifest_that_is_no_manifest_is_refused(sent: Path, landing: Path, manifest: bytes, match: str) -> None:
    (sent / "manifest.json").write_bytes(manifest)
    refused(sent, landing, match)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", 0),
        (b"\xef\xbb\xbf\n", 0),
        (b" \t\r\x0b\x0c\n" * 3, 0),
        (b"a", 1),
        (b"\n\na\n \nb b\n\n", 2),
        (b"x" * (CHUNK - 1) + b"\n" + b"y", 2),
        (b"x" * CHUNK + b"\n" + b"y\n", 2),
        (b" " * CHUNK + b"x\n" + b" " * CHUNK, 1),
        (b"x" * (2 * CHUNK), 1),
    ],
)
def test_lines_that_are_not_blank_are_counted_wherever_a_chunk_ends(
    sent: Path, landing: Path, content: bytes, lines: int
) -> None:
    (sent / "Patient.ndjson").write_bytes(content)
    assert {file.name: file.lines for file in land(sent, landing).files}["Patient.ndjson"] == lines
