"""A real PACS: Orthanc with its DICOMweb plugin, on loopback alone, filled with pydicom's own test files."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import pytest

PROGRAM, PLUGIN = "Orthanc", Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "rounds", "a word of the PACS 81f3"
UP_WITHIN_SECONDS = 60


@dataclass(frozen=True)
class Orthanc:
    """One PACS that is up. `folder` holds all that it knows."""

    folder: Path
    port: int
    client: httpx.Client

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def store(self, content: bytes) -> bool:
        """Give it one DICOM file; false when it will not have it."""
        return self.client.post("/instances", content=content).status_code == 200

    def store_dataset(self, dataset: object) -> None:
        """Give it one dataset of pydicom."""
        written = BytesIO()
        dataset.save_as(written)  # type: ignore[attr-defined]
        assert self.store(written.getvalue())

    def drop(self, study_uid: str) -> None:
        """Delete a study."""
        for number in self.client.post("/tools/lookup", content=study_uid).json():
            if number["Type"] == "Study":
                self.client.delete(f"/studies/{number['ID']}").raise_for_status()


def program() -> str:
    """The path of Orthanc; without it, or its plugin, the test is skipped and says so."""
    found = shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/sbin")
    if not found or not PLUGIN.exists():
        pytest.skip("orthanc and orthanc-dicomweb are not installed: make parts, as root")
    return found


@contextmanager
def running(folder: Path, *, is_kept: bool = True) -> Iterator[Orthanc]:
    """Start Orthanc on a folder, and stop it by its own process id; at once where nothing need be kept of it."""
    binary, port = program(), _free_port()
    folder.mkdir(exist_ok=True)
    config = folder / "orthanc.json"
    config.write_text(json.dumps(_config(folder, port)))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, str(config)], stdout=log, stderr=subprocess.STDOUT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=(USER, PASSWORD), trust_env=False) as client:
            _wait(client, process, folder / "log")
            yield Orthanc(folder, port, client)
    finally:
        process.terminate() if is_kept else process.kill()
        process.wait(30)


def _config(folder: Path, port: int) -> dict[str, object]:
    return {
        "Name": "tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "HttpBindAddresses": ["127.0.0.1"],
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "HttpThreadsCount": 8,
        "SyncStorageArea": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + UP_WITHIN_SECONDS
    while True:
        try:
            client.get("/system").raise_for_status()
            return
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"Orthanc does not come up:\n{log.read_text()}") from None
            time.sleep(0.03)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def dicom_files() -> list[Path]:
    """The DICOM files that come with pydicom."""
    import pydicom.data

    folder = Path(pydicom.data.__file__).parent / "test_files"
    return sorted(path for path in folder.rglob("*") if path.is_file())
