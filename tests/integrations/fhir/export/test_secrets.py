"""What opens a server or a link is in nothing that is said or kept."""

import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from integrations.errors import EnvironmentFault
from integrations.synthetic_hospital.ehr_faults import Fault
from tests.integrations.fhir.export.conftest import House, MakeEhr, on_a_bad_day


@pytest.mark.parametrize("method", ["bulk", "search"])
def test_no_secret_is_in_what_is_said_or_kept(
    house: House, make_ehr: MakeEhr, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    caplog.set_level(logging.DEBUG)
    bad_day = {
        ("file", 1): Fault(what="refuse", status=429),
        ("file", 2): Fault(what="expire_tokens"),
        ("page", 2): Fault(what="refuse", status=429),
    }
    ehr = make_ehr(faults=on_a_bad_day(bad_day))
    house.take(ehr, method=method)
    house.records.close()
    signatures = {path.partition("?")[2] for path in ehr.paths if "word=" in path}  # of the links; the job is gone
    assert bool(signatures) == (method == "bulk")
    keys = {json.loads(path.read_text())["d"] for path in (house.home / "secrets").iterdir()}
    secrets = {*ehr.tokens.given, *signatures, *keys}
    assert len(secrets) > 1 + len(signatures)
    said = caplog.text + "".join(capfd.readouterr())
    kept = {
        path: path.read_bytes() for path in house.home.rglob("*") if path.is_file() and path.parent.name != "secrets"
    }
    assert {"records.db", "manifest.json"} <= {path.name for path in kept}
    assert not [path for path, content in kept.items() if any(secret.encode() in content for secret in secrets)]
    assert not [secret for secret in secrets if secret in said]
    assert "eyJ" not in said  # as every signed word and token of JSON begins
    assert not [path for path, content in kept.items() if b"eyJ" in content and path.suffix in (".json", ".db", ".log")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (house.home / "secrets").iterdir())


def test_signed_links_are_kept_for_their_owner_alone_and_no_longer_than_the_export(
    house: House, make_ehr: MakeEhr
) -> None:
    ehr = make_ehr(faults=lambda kind, number: Fault(what="refuse") if kind == "file" and number > 2 else None)
    house.patience = replace(house.patience, longest_retry_after=timedelta(seconds=1))
    with pytest.raises(EnvironmentFault):
        house.fetch(ehr, parallel=1)
    [job] = ehr.jobs.values()
    signed = [path for path in house.home.rglob("*") if path.is_file() and job.link_word.encode() in path.read_bytes()]
    assert [path.name for path in signed] == ["export.json"]
    assert signed[0].stat().st_mode & 0o077 == 0
    assert signed[0].parent.stat().st_mode & 0o077 == 0
    ehr.faults = lambda _kind, _number: None
    house.close_circuit()
    house.take(ehr)
    assert not [
        path for path in house.home.rglob("*") if path.is_file() and job.link_word.encode() in path.read_bytes()
    ]
