"""A feed of studies by the commands that people type: make it, look at the PACS, fetch, fetch again."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from integrations import contract
from tests.flows.conftest import Rounds
from tests.integrations.dicomweb.orthanc import PASSWORD, USER, Orthanc, dicom_files, running
from tests.integrations.ingest.conftest import CODES, WARD, patient

pytestmark = [pytest.mark.part, pytest.mark.xdist_group("pacs")]

FEW = ("CT_small.dcm", "MR_small.dcm", "waveform_ecg.dcm", "examples_overlay.dcm")


@pytest.fixture(scope="module")
def small_pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A PACS of four studies."""
    with running(tmp_path_factory.mktemp("small_pacs"), is_kept=False) as pacs:
        for path in dicom_files():
            if path.name in FEW:
                assert pacs.store(path.read_bytes())
        yield pacs


@pytest.fixture
def north(rounds: Rounds, small_pacs: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a new source `north`, made by the command beside a ward that knows patients."""
    sources = tmp_path / "sources"
    (sources / "ward").mkdir(parents=True)
    (sources / "ward" / "contract.yaml").write_text(WARD)
    (sources / "ward" / "codes.csv").write_text(CODES)
    monkeypatch.setattr(contract, "SOURCES", sources)
    made = rounds.done("source", "new", "north", "--kind", "dicomweb", "--site", "north").out
    assert "north speaks of the patients of ward, by urn:oid:1.2.3" in made
    rounds.home.mkdir(exist_ok=True)
    endpoint = {"base_url": small_pacs.base_url, "user": USER, "password": PASSWORD}
    (rounds.home / "settings.yaml").write_text(yaml.safe_dump({"endpoints": {"north": endpoint}}))
    return sources / "north"


def test_a_first_look_says_what_the_pacs_gives_and_what_it_would_come_to(rounds: Rounds, north: Path) -> None:
    found = rounds.done("source", "check", "north", "--json").json
    assert found["server"]["way_in"] == "Basic"
    assert found["server"]["study_count"] == 4
    assert found["server"]["unasked_count"] > 3  # Orthanc tells the name of the patient to whom does not ask for it
    assert found["accounts"]["imaging_study"]["received"] == 4
    assert found["accounts"]["imaging_study"]["waiting"] == 4
    assert PASSWORD not in repr(found)
    assert not (rounds.home / "landing" / "north").exists()
    told = rounds.done("source", "check", "north").out
    assert "QIDO-RS by Basic: 4 studies as a sample" in told
    assert "attributes that nobody asked for: they are dropped unread" in told


def test_an_ingest_fetches_and_the_next_one_asks_only_for_studies_of_late(
    rounds: Rounds, north: Path, tmp_path: Path
) -> None:
    people = tmp_path / "people"
    people.mkdir()
    lines = [json.dumps(patient(f"p{n}", n)) for n in ("1CT1", "4MR1", "642341")]
    (people / "Patient.ndjson").write_text("\n".join(lines))
    rounds.done("ingest", "ward", "--from", str(people))
    first = rounds.done("ingest", "north", "--json").json["accounts"]
    assert (first["imaging_study"]["received"], first["imaging_study"]["mapped"]) == (4, 3)
    assert rounds.done("ingest", "north", "--json").json["accounts"]["imaging_study"]["received"] == 0
    whole = rounds.done("ingest", "north", "--whole", "--json").json["accounts"]["imaging_study"]
    assert (whole["mapped"], whole["unchanged"]) == (0, 3)
    assert not (rounds.home / "exports" / "north").exists()
    kept = [path.read_bytes() for path in rounds.home.rglob("*") if path.is_file() and path.name != "settings.yaml"]
    assert not [content for content in kept if b"CompressedSamples" in content or PASSWORD.encode() in content]


def test_a_feed_without_an_address_says_what_to_set(rounds: Rounds, north: Path) -> None:
    (rounds.home / "settings.yaml").unlink()
    refused = rounds("ingest", "north")
    assert refused.code == 2
    assert "endpoints: {north: {base_url: https://HOST/dicom-web, user: ..., password: ..." in refused.err


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ({"base_url": "http://pacs.example.org", "user": "rounds", "password": "a secret"}, "travel unencrypted"),
        ({"base_url": "http://pacs.example.org", "bearer_token": "secret"}, "travel unencrypted"),
        ({"base_url": "https://pacs.example.org", "user": "rounds"}, "user and password belong together"),
        ({"base_url": "https://pacs.example.org", "password": "secret"}, "user and password belong together"),
        ({"base_url": "https://pacs.example.org", "bearer_token": "two secrets"}, "no word that can stand in a header"),
        (
            {"base_url": "https://pacs.example.org", "bearer_token": "secret", "client_id": "rounds"},
            "knows us by one of them",
        ),
    ],
)
def test_an_endpoint_that_is_not_safe_is_refused_and_no_secret_of_it_is_said(
    rounds: Rounds, north: Path, endpoint: dict[str, str], sentence: str
) -> None:
    (rounds.home / "settings.yaml").write_text(yaml.safe_dump({"endpoints": {"north": endpoint}}))
    refused = rounds("ingest", "north")
    assert refused.code == 2
    assert sentence in refused.err
    assert "secret" not in refused.err.replace("no secret", "")


def test_without_a_pacs_the_feed_takes_files(rounds: Rounds, north: Path, small_pacs: Orthanc, tmp_path: Path) -> None:
    answer = small_pacs.client.get("/dicom-web/studies", headers={"Accept": "application/dicom+json"})
    (tmp_path / "page.json").write_bytes(answer.content)
    found = rounds.done("source", "check", "north", "--from", str(tmp_path / "page.json"), "--json").json
    assert found["accounts"]["imaging_study"]["received"] == 4
    text = (north / "contract.yaml").read_text()
    begin, end = text.index("qido:"), text.index("tables:")
    (north / "contract.yaml").write_text(text[:begin] + text[end:])
    assert "is not fetched from a server" in rounds("source", "check", "north").err
    shutil.rmtree(rounds.home / "landing", ignore_errors=True)
    taken = rounds.done("ingest", "north", "--from", str(tmp_path / "page.json"), "--json").json
    assert taken["accounts"]["imaging_study"]["received"] == 4
