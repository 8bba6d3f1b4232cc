"""Studies of a real PACS arrive as what they are, once, and as new versions when they change."""

import copy
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pydicom
import pytest
from pydicom.uid import generate_uid

from integrations.errors import Refused
from integrations.records.schema import breaker
from tests.integrations.dicomweb.conftest import FEED, FIRST_NIGHT, MRN, PACS, ReadingRoom, patients_of
from tests.integrations.dicomweb.front import Bad, in_front
from tests.integrations.dicomweb.orthanc import Orthanc, dicom_files

pytestmark = [pytest.mark.part, pytest.mark.xdist_group("pacs")]

CT = "1.3.6.1.4.1.5962.1.1.0.0.0.1196530851.28319.0.1"  # of 77654033, 1995
LATE = {"KO", "PR", "RTDOSE", "RTPLAN", "RTSTRUCT", "SEG", "SR"}


@dataclass
class Expected:
    """A study as pydicom reads it from the files."""

    patient: str
    effective_at: datetime | None
    series: dict[str, tuple[int, str, str | None]] = field(default_factory=dict)  # number, modality, body part

    @property
    def row(self) -> tuple[Any, ...]:
        in_order = sorted((one[1] in LATE, one[0], uid, one[1]) for uid, one in self.series.items() if one[1])
        parts = sorted((one[1] in LATE, one[0], uid, one[2]) for uid, one in self.series.items() if one[2])
        modality = in_order[0][3] if in_order else None
        return modality, parts[0][3] if parts else None, len(self.series), self.effective_at


def read_by_pydicom(pacs: Orthanc) -> dict[str, Expected]:
    """Every study that the PACS holds, read from its files by pydicom, and not by QIDO-RS."""
    found: dict[str, Expected] = {}
    for number in pacs.client.get("/instances").json():
        content = pacs.client.get(f"/instances/{number}/file").content
        with warnings.catch_warnings(action="ignore"):  # what pydicom says of its own bad files
            one = pydicom.dcmread(BytesIO(content), stop_before_pixels=True, force=True)
        uid = str(one.StudyInstanceUID)
        study = found.setdefault(uid, Expected(str(one.get("PatientID", "") or "").strip(), _when(one)))
        place = one.get("SeriesNumber")
        at = int(place) if place not in (None, "") else 1 << 53
        said = at, str(one.get("Modality") or ""), str(one.get("BodyPartExamined") or "") or None
        study.series.setdefault(str(one.SeriesInstanceUID), said)
    return found


def _when(one: Any) -> datetime | None:
    day, clock = str(one.get("StudyDate") or ""), str(one.get("StudyTime") or "")
    if not day:
        return None
    sign = str(one.get("TimezoneOffsetFromUTC") or "")
    zone: Any = ZoneInfo("America/Chicago")
    if sign:
        minutes = int(sign[1:3]) * 60 + int(sign[3:5])
        zone = timezone(timedelta(minutes=-minutes if sign[0] == "-" else minutes))
    digits = (day.replace(".", "") + clock.replace(":", "")).partition(".")
    moment = datetime.strptime(digits[0], "%Y%m%d%H%M%S").replace(microsecond=int((digits[2] or "0").ljust(6, "0")))
    return moment.replace(tzinfo=zone).astimezone(UTC)


@pytest.fixture(scope="module")
def expected(pacs: Orthanc) -> dict[str, Expected]:
    """What the PACS holds, as pydicom reads it."""
    return read_by_pydicom(pacs)


def test_every_study_arrives_with_modality_body_part_series_and_time_as_pydicom_reads_them(
    room: ReadingRoom, pacs: Orthanc, expected: dict[str, Expected]
) -> None:
    room.know(*patients_of(pacs))
    result = room.take(pacs.base_url)
    named = {uid: one for uid, one in expected.items() if one.patient}
    columns = "imaging_study_id, patient_id, modality, body_site, series_count, effective_at"
    found = {row[0].removeprefix("pacs/"): row[1:] for row in room.studies(columns)}
    assert found == {uid: (f"pacs/{one.patient}", *one.row) for uid, one in named.items()}
    account = result.accounts["imaging_study"]
    print(f"{len(found)} studies as pydicom reads them; {account}")
    assert account.balances
    assert (len(named), account.waiting) == (len(found), 0)
    assert account.quarantined == sum(1 for one in expected.values() if not one.patient) > 3
    assert room.ward.reasons() == {"missing_field": account.quarantined}
    assert len({row[1] for row in found.values()}) > 8  # modalities
    assert any(row[2] for row in found.values())
    assert any(row[3] > 1 for row in found.values())
    links = room.ward.rows("select patient_id, system, value from patient_link where value = '1CT1' order by all")
    assert links == [("pacs/1CT1", MRN, "1CT1"), ("ward/of-1CT1", MRN, "1CT1")]  # one person


def test_everything_fetched_again_changes_nothing(room: ReadingRoom, pacs: Orthanc) -> None:
    room.ask_from("2004-01-01")
    room.know("1CT1", "4MR1", "642341")
    first = room.take(pacs.base_url).accounts["imaging_study"]
    before = room.studies()
    again = room.take(pacs.base_url, 1, is_whole=True).accounts["imaging_study"]
    assert again.mapped == 0
    assert again.unchanged == first.mapped + first.unchanged
    assert room.studies() == before
    assert len(room.ward.rows("select * from imaging_study")) == len(before)


def test_the_next_fetch_asks_for_studies_dated_from_the_overlap_before_the_last_one(
    room: ReadingRoom, pacs: Orthanc
) -> None:
    with in_front(pacs.base_url) as front:
        room.take(front.base_url)
        first = len(front.paths)
        nothing = room.take(front.base_url, 1)
        asked = [parse_qs(urlsplit(path).query) for path in front.paths]
    assert "StudyDate" not in asked[0]
    assert asked[first]["StudyDate"] == ["20240208-"]  # 30 days before 9 March, 23:00 in Chicago
    assert nothing.accounts["imaging_study"].received == 0
    fields = {tuple(each["includefield"]) for each in asked}
    assert all(len(number) == 8 for numbers in fields for number in numbers)
    assert not {"all", "00100010", "00100030", "00080090", "00080050"} & {name for names in fields for name in names}


def recent(pacs: Orthanc, **more: str) -> pydicom.Dataset:
    """Pydicom's CT as a study of March 2024; it is in the PACS."""
    [path] = [path for path in dicom_files() if path.name == "CT_small.dcm"]
    dataset = pydicom.dcmread(path)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.840.99.1", "1.2.840.99.1.1"
    dataset.StudyDate, dataset.StudyTime, dataset.TimezoneOffsetFromUTC = "20240305", "0930", "-0600"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientID, dataset.BodyPartExamined = "77654033", "HEAD"
    for name, value in more.items():
        setattr(dataset, name, value)
    pacs.store_dataset(dataset)
    return dataset


def test_a_study_that_changes_after_its_date_is_a_new_version(room: ReadingRoom, own_pacs: Orthanc) -> None:
    room.ask_from("2019-01-01")
    room.know("77654033")
    room.take(own_pacs.base_url)
    recent(own_pacs)
    room.take(own_pacs.base_url, 1)
    recent(own_pacs, SeriesInstanceUID="1.2.840.99.1.2", SeriesNumber="7", Modality="SR", BodyPartExamined="ABDOMEN")
    changed = room.take(own_pacs.base_url, 2).accounts["imaging_study"]
    assert (changed.received, changed.mapped, changed.rows_written) == (1, 1, 1)
    told = room.take(own_pacs.base_url, 3).accounts["imaging_study"]
    assert (told.mapped, told.unchanged) == (0, 1)
    columns = "modality, body_site, series_count, effective_at"
    at = datetime(2024, 3, 5, 15, 30, tzinfo=UTC)
    wanted = f"select {columns} from imaging_study where imaging_study_id = 'pacs/1.2.840.99.1' order by available_at"
    assert room.ward.rows(wanted) == [("CT", "HEAD", 1, at), ("CT", "HEAD", 2, at)]
    known = "imaging_study_id = 'pacs/1.2.840.99.1' and series_count"
    assert [row for row in room.ward.seen(known, "imaging_study", night=1.5) if row[0]] == [(True,)]


def test_a_study_that_moves_to_another_patient_is_a_new_version_of_the_same_study(
    room: ReadingRoom, own_pacs: Orthanc
) -> None:
    room.ask_from("2024-01-01")
    room.know("77654033", "1CT1")
    recent(own_pacs)
    room.take(own_pacs.base_url)
    own_pacs.drop("1.2.840.99.1")
    recent(own_pacs, PatientID="1CT1")
    room.take(own_pacs.base_url, 1)
    versions = room.ward.rows(
        "select patient_id, is_retracted from imaging_study "
        "where imaging_study_id = 'pacs/1.2.840.99.1' and available_at < superseded_at order by available_at"
    )
    assert versions == [("pacs/77654033", False), ("pacs/1CT1", False)]


def test_a_study_that_has_left_the_pacs_stays_known_even_when_all_is_fetched_again(
    room: ReadingRoom, own_pacs: Orthanc
) -> None:
    room.ask_from("2019-01-01")
    room.know("77654033")
    recent(own_pacs)
    room.take(own_pacs.base_url)
    own_pacs.drop("1.2.840.99.1")
    again = room.take(own_pacs.base_url, 1, is_whole=True)
    assert again.accounts["imaging_study"].received == 2  # of 2019 and 2020
    assert room.studies() == [("pacs/1.2.840.99.1", "CT", "HEAD", 1)]


def test_a_study_waits_for_its_patient_and_is_taken_up_when_the_patient_comes(room: ReadingRoom, pacs: Orthanc) -> None:
    room.ask_from("2004-01-01")
    room.know("1CT1")
    waiting = room.take(pacs.base_url).accounts["imaging_study"].waiting
    assert waiting > 5
    assert [row[0] for row in room.studies("patient_id")] == ["pacs/1CT1"]
    room.know("4MR1", night=1)
    assert {row[0] for row in room.studies("patient_id")} == {"pacs/1CT1", "pacs/4MR1"}
    [known] = set(room.ward.rows("select available_at from imaging_study where patient_id = 'pacs/4MR1'"))
    assert known == (FIRST_NIGHT + timedelta(days=1),)
    assert room.ward.report("imaging_study", FEED)["waiting"] < waiting


def test_a_stay_is_named_by_the_accession_number_only_where_the_contract_says_so(
    room: ReadingRoom, pacs: Orthanc
) -> None:
    from tests.integrations.ingest.conftest import encounter, patient

    room.ward.send(Patient=[patient(mrn="98890234")], Encounter=[encounter("428")])
    room.take(pacs.base_url)
    assert {row[0] for row in room.studies("encounter_id")} == {None}
    room.write_contract(PACS + "is_accession_number_of_stay: true\n")
    room.take(pacs.base_url, 1)  # another question: everything is asked for again
    assert [row[0] for row in room.studies("encounter_id") if row[0]] == ["ward/428"]


def test_without_series_a_study_is_what_the_pacs_says_of_it_as_a_whole(room: ReadingRoom, pacs: Orthanc) -> None:
    room.know(*patients_of(pacs))
    room.take(pacs.base_url)
    with_series = room.studies()
    room.write_contract(PACS.replace("page_size: 7", "page_size: 7, asks_series: false"))
    with in_front(pacs.base_url) as front:
        told = room.take(front.base_url, 1).accounts["imaging_study"]
    assert (front.asked["series"], front.asked["studies"]) == (0, 6)
    assert told.mapped == 0, "body part and modality of these files are the same either way"
    assert room.studies() == with_series


def test_a_wrong_password_is_said_at_once(room: ReadingRoom, pacs: Orthanc) -> None:
    room.password = "wrong"
    with (
        in_front(pacs.base_url) as front,
        pytest.raises(Refused, match="does not let us in: 401") as caught,
    ):
        room.take(front.base_url)
    assert front.asked.total() == 1
    assert "check user and password" in caught.value.to_do
    with room.ward.records.read() as db:
        assert not db.execute(breaker.select()).all()


def test_our_password_goes_nowhere_else(room: ReadingRoom, pacs: Orthanc) -> None:
    with in_front() as elsewhere:
        to = Bad("redirect", to=f"{elsewhere.base_url}/studies")
        with in_front(pacs.base_url, lambda *_: to) as front:
            with pytest.raises(Refused, match="points elsewhere"):
                room.take(front.base_url)
            assert front.words[0].startswith("Basic ")
        assert not elsewhere.paths


def test_an_address_without_a_pacs_is_said(room: ReadingRoom, pacs: Orthanc) -> None:
    with pytest.raises(Refused, match="no studies at this address") as caught:
        room.take(pacs.base_url.replace("dicom-web", "dicomweb"))
    assert "base_url" in caught.value.to_do


def test_the_oracle_tells_studies_apart(expected: dict[str, Expected]) -> None:
    changed = copy.deepcopy(expected[CT])
    changed.series["1.2.3"] = (0, "MR", "KNEE")
    assert expected[CT].row == ("CT", "HEAD", 1, datetime(1995, 9, 3, 17, 30, 32, tzinfo=UTC))
    assert changed.row[:3] == ("MR", "KNEE", 2)
