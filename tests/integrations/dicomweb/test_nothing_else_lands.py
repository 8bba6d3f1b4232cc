"""Names, birth dates and whatever else is not needed of a study are nowhere in ROUNDS_HOME, at no time."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from integrations.dicomweb import brought, fetch
from integrations.dicomweb.tags import ACCESSION_NUMBER, OF_A_SERIES, OF_A_STUDY
from integrations.duck import connect
from tests.integrations.dicomweb.conftest import FEED, ReadingRoom
from tests.integrations.dicomweb.front import Bad, in_front
from tests.integrations.dicomweb.orthanc import Orthanc, dicom_files

pytestmark = [pytest.mark.part, pytest.mark.xdist_group("pacs")]

# What a PACS might tell of a person and a stay, each with a word that stands nowhere else.
SECRETS = {
    "PatientName": "Wrzesniewska^Genowefa",
    "PatientBirthDate": "19431117",
    "PatientBirthName": "Szczepanska^Genowefa",
    "PatientMotherBirthName": "Krzyzanowska^Zofia",
    "PatientAddress": "Mickiewicza 77 Poznan",
    "PatientTelephoneNumbers": "0048555018832",
    "OtherPatientNames": "Wrzesniewska^Genia",
    "PatientComments": "afraid of needles xqj",
    "Occupation": "organist xqj",
    "EthnicGroup": "kashubian xqj",
    "ReferringPhysicianName": "Brzeczyszczykiewicz^Grzegorz",
    "PerformingPhysicianName": "Lewandowski^Pankracy",
    "OperatorsName": "Zdzislaw^Operator",
    "InstitutionName": "Hospital of Saint Xqj",
    "InstitutionAddress": "Swietojanska 5 xqj",
    "StationName": "XQJSTATION1",
    "StudyDescription": "CT skull after a fall xqj",
    "SeriesDescription": "axial 2 mm xqj",
    "ProtocolName": "protocol xqj",
    "AdmittingDiagnosesDescription": "alcoholic xqj",
    "AccessionNumber": "ACCXQJ7716",
    "StudyID": "SIDXQJ7716",
    "InstitutionalDepartmentName": "neuro xqj",
    "DeviceSerialNumber": "SERXQJ7716",
}
TOLD = [f"{tag_for_keyword(keyword):08X}" for keyword in SECRETS]  # whatever it was asked for
WANTED = {tag.keyword for tag in (*OF_A_STUDY, *OF_A_SERIES)}


def words_of(dataset: pydicom.Dataset) -> set[str]:
    """Every text of a dataset that is not wanted and says something."""
    found = set()
    for element in dataset:
        if element.keyword in WANTED or element.VR not in ("PN", "LO", "SH", "LT", "ST", "UT", "AS", "DA", "UI"):
            continue
        values = element.value if isinstance(element.value, pydicom.multival.MultiValue) else [element.value]
        found |= {str(value) for value in values if len(str(value)) >= 8}
    return found


@pytest.fixture
def secrets(own_pacs: Orthanc) -> set[str]:
    """What pydicom's CT says beside what is wanted, and a person whom we made up; it is in the PACS."""
    [path] = [path for path in dicom_files() if path.name == "CT_small.dcm"]
    dataset = pydicom.dcmread(path)
    dates_of_others = {str(dataset.StudyDate)}  # another test file is of the same day
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.840.99.7", "1.2.840.99.7.1"
    dataset.PatientID, dataset.StudyDate = "XQJ-1", "20240301"
    dataset.SpecificCharacterSet = "ISO_IR 100"
    for keyword, word in SECRETS.items():
        assert dictionary_VR(keyword)
        setattr(dataset, keyword, word)
    own_pacs.store_dataset(dataset)
    wanted = {str(dataset.get(keyword)) for keyword in WANTED} | dates_of_others
    return {word for word in words_of(dataset) if not any(word in kept for kept in wanted)}


def kept_in(home: Path) -> dict[str, bytes]:
    """Every file of a home, and the rows of its lake as text, since Parquet packs them."""
    found = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with connect(home / "tmp") as connection:
        for path in home.rglob("*.parquet"):
            rows = connection.execute("select * from read_parquet($path)", {"path": str(path)}).fetchall()
            found[f"{path} as rows"] = repr(rows).encode()
    return found


def betrayed(secrets: set[str], kept: dict[str, bytes], said: str) -> set[str]:
    """The secrets that stand somewhere."""
    everywhere = b"\n".join([*kept.values(), *(path.encode() for path in kept), said.encode()])
    return {secret for secret in secrets if secret.encode() in everywhere}


def go_through(room: ReadingRoom, pacs: Orthanc) -> None:
    """Fetch on a bad day from a PACS that tells more than it is asked, take in, fetch again; bring raw answers too."""
    room.ask_from("2015-01-01")
    room.know("XQJ-1")
    plan: Callable[[str, int], Bad | None] = {
        ("studies", 1): Bad("cut", at=900),
        ("series", 3): Bad("refuse"),
    }.get  # type: ignore[assignment]
    with in_front(pacs.base_url, lambda kind, number: plan((kind, number))) as front:  # type: ignore[arg-type, call-arg]
        front.more = "".join(f"&includefield={number}" for number in TOLD)
        room.take(front.base_url)
        room.take(front.base_url, 1, is_whole=True)
    accepted = {"Accept": "application/dicom+json"}
    raw = pacs.client.get("/dicom-web/studies", params={"includefield": TOLD}, headers=accepted).content
    place = room.home.parent / "brought"
    place.mkdir()
    (place / "page.json").write_bytes(raw)
    (place / "cut.json").write_bytes(raw[:-100])
    studies = json.loads(raw)
    odd = [{**one, "00080020": one.get("00100010", {}), "00100021": one.get("00080090", {})} for one in studies]
    lines = [json.dumps(one) for one in (*studies, *odd)]
    (place / "lines.ndjson").write_text("\n".join([*lines, lines[0][:-9], json.dumps([studies[0]])]))
    room.ward.ingest(place, night=2, source=FEED)


def test_no_word_that_is_not_needed_is_in_the_home_or_in_what_is_said(
    room: ReadingRoom,
    own_pacs: Orthanc,
    secrets: set[str],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    go_through(room, own_pacs)
    assert len(secrets) > 20
    assert {"Wrzesniewska^Genowefa", "19431117"} <= secrets
    room.ward.records.close()
    said = caplog.text + "".join(capfd.readouterr())
    kept = kept_in(room.home)
    print(f"{len(secrets)} words looked for in {len(kept)} files and {len(said)} characters of log")
    assert betrayed(secrets, kept, said) == set()
    everything = b"".join(kept.values())
    assert b"1.2.840.99.7" in everything
    assert b"not_json" in everything


def test_the_accession_number_is_kept_only_where_it_is_wanted() -> None:
    assert ACCESSION_NUMBER not in OF_A_STUDY


def test_a_build_that_lets_all_pass_betrays_them(
    room: ReadingRoom, own_pacs: Orthanc, secrets: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(sent: Any, *_: Any) -> bytes:
        return json.dumps(sent).encode()

    monkeypatch.setattr(fetch, "needed_study", everything)
    monkeypatch.setattr(brought, "needed_study", everything)
    monkeypatch.setattr(brought, "needed_line", lambda raw, *_: bytes(raw))
    go_through(room, own_pacs)
    found = betrayed(secrets, kept_in(room.home), "")
    print(f"control: {len(found)} of {len(secrets)} words found")
    assert {"Wrzesniewska^Genowefa", "Brzeczyszczykiewicz^Grzegorz", "19431117"} <= found
    assert len(found) > 15
