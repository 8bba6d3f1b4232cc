"""A feed with a server, by the commands that people type: register our key, look at the server, fetch."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from integrations.synthetic_hospital.ehr_server import EhrServer
from integrations.synthetic_hospital.ehr_shelf import Shelf
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import HospitalFiles, write_hospital
from tests.flows.conftest import Rounds

FEED = "demo_ehr"
MakeEhr = Callable[..., EhrServer]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> HospitalFiles:
    """A hospital of sixteen patients."""
    hospital = Hospital(patients=16, nights=2, scenario="none", seed=3)
    return write_hospital(hospital, tmp_path_factory.mktemp("small") / "files")


@pytest.fixture
def make_ehr(rounds: Rounds, small: HospitalFiles) -> Iterator[MakeEhr]:
    """Start the hospital's server after its history; the house knows its address, and it knows the house's key."""
    with ExitStack() as opened:

        def make(**options: Any) -> EhrServer:
            shelf = Shelf([small.history, *(night.ehr for night in small.nights)])
            ehr = opened.enter_context(EhrServer(shelf=shelf, now=small.history_taken_at, jwks={}, **options))
            rounds.home.mkdir(exist_ok=True)
            endpoint = {"base_url": ehr.base_url, "client_id": "rounds"}
            (rounds.home / "settings.yaml").write_text(yaml.safe_dump({"endpoints": {FEED: endpoint}}))
            ehr.tokens.jwks = rounds.done("source", "jwks", FEED).json
            return ehr

        yield make


def test_our_public_key_is_shown_for_the_server_and_the_private_one_stays(rounds: Rounds, make_ehr: MakeEhr) -> None:
    make_ehr()
    [key] = rounds.done("source", "jwks", FEED).json["keys"]
    assert (key["kty"], key["alg"], key["use"]) == ("EC", "ES384", "sig")
    assert "d" not in key
    private = rounds.home / "secrets" / f"{FEED}.jwk"
    assert json.loads(private.read_bytes())["d"]
    assert private.stat().st_mode & 0o777 == 0o600
    assert rounds.done("source", "jwks", FEED).json == {"keys": [key]}  # made once


def test_a_first_look_says_what_the_server_can_and_what_its_records_would_come_to(
    rounds: Rounds, make_ehr: MakeEhr
) -> None:
    make_ehr()
    found = rounds.done("source", "check", FEED, "--json").json
    assert (found["server"]["fhir_version"], found["server"]["has_token"]) == ("4.0.1", True)
    assert found["server"]["doubts"] == []
    assert found["accounts"]["patient"]["mapped"] > 10
    assert found["accounts"]["observation"]["received"] == 200  # a first page, not all
    assert not (rounds.home / "landing" / FEED).exists()
    told = rounds.done("source", "check", FEED).out
    assert "FHIR 4.0.1: it gave us a token" in told


def test_what_the_contract_asks_and_the_server_cannot_is_doubted(rounds: Rounds, make_ehr: MakeEhr) -> None:
    make_ehr(has_bulk=False)
    told = rounds.done("source", "check", FEED).out
    assert "doubt: it names no bulk export of the system" in told


def test_an_ingest_without_a_path_fetches_and_the_next_one_asks_for_what_has_changed(
    rounds: Rounds, make_ehr: MakeEhr, small: HospitalFiles
) -> None:
    ehr = make_ehr()
    first = rounds.done("ingest", FEED, "--history", "--as-of", small.history_taken_at.isoformat(), "--json").json
    ehr.now = small.nights[0].taken_at
    second = rounds.done("ingest", FEED, "--as-of", ehr.now.isoformat(), "--json").json
    assert first["accounts"]["patient"]["mapped"] > 10
    records = [sum(one["received"] for one in run["accounts"].values()) for run in (first, second)]
    assert records[1] < records[0] / 10
    assert [path for path in ehr.paths if "$export" in path and "_since=" in path]
    assert not (rounds.home / "exports" / FEED).exists()


def test_everything_is_fetched_again_when_asked_for(rounds: Rounds, make_ehr: MakeEhr, small: HospitalFiles) -> None:
    ehr = make_ehr()
    at = small.history_taken_at.isoformat()
    rounds.done("ingest", FEED, "--history", "--as-of", at)
    ehr.now = small.nights[0].taken_at
    again = rounds.done("ingest", FEED, "--whole", "--as-of", ehr.now.isoformat(), "--json").json
    assert again["accounts"]["patient"]["unchanged"] > 10
    assert not [path for path in ehr.paths if "_since=" in path]


def test_a_dry_run_fetches_nothing(rounds: Rounds, make_ehr: MakeEhr) -> None:
    ehr = make_ehr()
    refused = rounds("ingest", FEED, "--dry-run")
    assert (refused.code, ehr.asked.total()) == (2, 0)
    assert f"rounds source check {FEED}" in refused.err


def test_a_feed_without_an_address_says_what_to_set(rounds: Rounds) -> None:
    refused = rounds("ingest", FEED)
    assert refused.code == 2
    assert "endpoints: {demo_ehr: {base_url: https://HOST/fhir" in refused.err


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ({"base_url": "http://ehr.example.org/fhir", "client_id": "rounds"}, "a token would travel unencrypted"),
        ({"base_url": "https://me:secret@ehr.example.org/fhir"}, "more than scheme, host, port and path"),
        ({"base_url": "ftp://ehr.example.org"}, "not an http address"),
        ({"base_url": "https://ehr.example.org", "colour": "blue"}, "endpoints.demo_ehr.colour"),
    ],
)
def test_an_unsafe_address_is_refused_and_no_secret_of_it_is_said(
    rounds: Rounds, endpoint: dict[str, str], sentence: str
) -> None:
    rounds.home.mkdir()
    (rounds.home / "settings.yaml").write_text(yaml.safe_dump({"endpoints": {FEED: endpoint}}))
    refused = rounds("source", "jwks", FEED)
    assert refused.code == 2
    assert sentence in refused.err
    assert "secret" not in refused.err


def test_a_killed_fetch_leaves_its_export_to_the_next_one(
    rounds: Rounds, make_ehr: MakeEhr, small: HospitalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    ehr = make_ehr()
    at = ("--history", "--as-of", small.history_taken_at.isoformat(), "--json")
    with monkeypatch.context() as broken:
        broken.setattr("flows.ingest.land_and_map", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        assert rounds("ingest", FEED, *at).code == 3
    assert rounds.done("ingest", FEED, *at).json["is_new"]
    assert ehr.asked["kick_off"] == 1  # what had come was taken in
    assert Path(rounds.home / "landing" / FEED).exists()
