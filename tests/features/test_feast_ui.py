"""`feast ui`, started as docs/engineer.md says, over the registry that we wrote."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from socket import socket
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from features.definitions import VIEWS, Service, view, view_names
from features.store import FeatureStore

START_SECONDS = 120
SERVICE = Service(
    name="readmission_30d_v3",
    features=("recent_labs:creatinine_last_mg_dl", "patient_demographics:age_years"),
    owner="ward",
    description="who comes back",
    tags={"manifest_hash": "f" * 64},
)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server."""
    folder = tmp_path_factory.mktemp("ui") / "features"
    store = FeatureStore(folder)
    store.declare(SERVICE)
    store.close()
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["--chdir", str(VIEWS.parent), "ui", "--host", "127.0.0.1", "--port", port]
    server = subprocess.Popen(
        [sys.executable, "-c", "from feast.cli.cli import cli; cli()", *command],
        env={**os.environ, "ROUNDS_FEATURES": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(server, address)
        yield address
    finally:
        server.terminate()
        server.wait()


def _wait(server: subprocess.Popen[bytes], address: str) -> None:
    begin = time.monotonic()
    while server.poll() is None and time.monotonic() - begin < START_SECONDS:
        try:
            urlopen(address)
            return
        except URLError:
            time.sleep(0.2)
    raise AssertionError(f"`feast ui` does not answer; it ended with {server.poll()}")


def asked(ui: str, what: str) -> Any:
    with urlopen(f"{ui}/api/v1/{what}?project=rounds") as answer:
        return json.load(answer)


def test_the_ui_shows_services_and_every_field_with_unit_owner_and_freshness(ui: str) -> None:
    with urlopen(ui) as page:
        assert b"<title>Feast" in page.read()
    service = asked(ui, f"feature_services/{SERVICE.name}")["spec"]
    assert (service["owner"], service["description"], service["tags"]) == (
        "ward",
        "who comes back",
        {"manifest_hash": "f" * 64},
    )
    shown = {
        f"{each['featureViewName']}:{field['name']}" for each in service["features"] for field in each["featureColumns"]
    }
    assert shown == set(SERVICE.features)
    for name in view_names():
        said = view(name)
        fields = {field["name"]: field for field in asked(ui, f"feature_views/{name}")["spec"]["features"]}
        assert {feature.name for feature in said.features} < set(fields)
        for feature in said.features:
            field = fields[feature.name]
            assert (field["description"], field["tags"]["unit"]) == (feature.description, feature.unit)
            assert field["tags"]["owner"] == said.owner
            assert float(field["tags"]["freshness_hours"]) * 3600 == said.freshness.total_seconds()
