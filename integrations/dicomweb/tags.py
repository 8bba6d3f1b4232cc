"""The attributes that Rounds wants of a study and its series: these are asked for, and no other one passes the door."""

from dataclasses import dataclass

from integrations.contract import Contract


@dataclass(frozen=True)
class Tag:
    """One attribute: its number in DICOM JSON, its keyword and its value representation (DICOM PS3.6)."""

    number: str
    keyword: str
    vr: str
    is_list: bool = False


STUDY_UID = Tag("0020000D", "StudyInstanceUID", "UI")
SERIES_UID = Tag("0020000E", "SeriesInstanceUID", "UI")
SERIES_COUNT = Tag("00201206", "NumberOfStudyRelatedSeries", "IS")
ACCESSION_NUMBER = Tag("00080050", "AccessionNumber", "SH")
BODY_PART = Tag("00180015", "BodyPartExamined", "CS")
MODALITIES = Tag("00080061", "ModalitiesInStudy", "CS", is_list=True)
OF_A_STUDY = (
    STUDY_UID,
    Tag("00080020", "StudyDate", "DA"),
    Tag("00080030", "StudyTime", "TM"),
    Tag("00080201", "TimezoneOffsetFromUTC", "SH"),
    Tag("00100020", "PatientID", "LO"),
    Tag("00100021", "IssuerOfPatientID", "LO"),
    MODALITIES,
    BODY_PART,
    SERIES_COUNT,
)
OF_A_SERIES = (SERIES_UID, Tag("00200011", "SeriesNumber", "IS"), Tag("00080060", "Modality", "CS"), BODY_PART)
# Where the series of a study stand within it: ReferencedSeriesSequence.
SERIES = "00081115"


def study_tags(contract: Contract) -> tuple[Tag, ...]:
    """What is wanted of a study: its accession number only where that is the number of the stay."""
    return (*OF_A_STUDY, ACCESSION_NUMBER) if contract.is_accession_number_of_stay else OF_A_STUDY
