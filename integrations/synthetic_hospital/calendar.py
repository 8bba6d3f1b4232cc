"""The hospital's calendar: when its history begins and ends, and when each night's extract is taken.

Inside the hospital, time is a float: days since EPOCH. All instants are rounded to the minute when they are written.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HOSPITAL_TIME = ZoneInfo("America/Chicago")
EPOCH = datetime(2022, 1, 1, tzinfo=HOSPITAL_TIME)
GO_LIVE_DATE = date(2024, 7, 1)
EXTRACT_TIME = time(23, 45)  # before midnight, so that the prediction time of 00 h already knows the night's extract
ROUND_TIME = time(0, 15)

_EPOCH = np.datetime64(EPOCH.astimezone(UTC).replace(tzinfo=None), "m")
_LOCAL = np.timedelta64(-5, "h")  # America/Chicago in July, when the LIS feed is live


def extract_taken_at(night: int) -> datetime:
    """When the extract of a night is taken; night 0 is the history extract, on the eve of go-live."""
    day = GO_LIVE_DATE + timedelta(days=night - 1)
    return datetime.combine(day, EXTRACT_TIME, HOSPITAL_TIME).astimezone(UTC)


def round_begins_at(night: int) -> datetime:
    """When the round of a night scores: just after midnight, on what the night's extract brought."""
    day = GO_LIVE_DATE + timedelta(days=night)
    return datetime.combine(day, ROUND_TIME, HOSPITAL_TIME).astimezone(UTC)


def days_since_epoch(moment: datetime) -> float:
    """An aware instant as the hospital counts it."""
    return (moment - EPOCH.astimezone(UTC)) / timedelta(days=1)


def instants(days: Floats) -> npt.NDArray[np.datetime64]:
    """UTC instants, to the minute."""
    return _EPOCH + np.rint(days * 1440).astype("timedelta64[m]")


def fhir_times(days: Floats) -> list[str]:
    """UTC as FHIR writes it: 2024-07-01T04:45:00Z."""
    texts: list[str] = np.char.add(np.datetime_as_string(instants(days).astype("datetime64[s]")), "Z").tolist()
    return texts


def hl7_times(days: Floats) -> list[str]:
    """Hospital time as HL7 v2 writes it, without an offset, as most laboratories do: 20240630234500."""
    texts = np.datetime_as_string((instants(days) + _LOCAL).astype("datetime64[s]")).tolist()
    return [text.replace("-", "").replace("T", "").replace(":", "") for text in texts]


def birth_dates(ages: Floats) -> npt.NDArray[np.datetime64]:
    """Dates of birth of people who have these ages (years) at the epoch."""
    return instants(-ages * 365.25).astype("datetime64[D]")


def is_adult(ages: Floats, days: Floats) -> npt.NDArray[np.bool_]:
    """Who has had the 18th birthday by the calendar day of an instant; ages are at the epoch."""
    born = birth_dates(ages)
    month = born.astype("datetime64[M]")
    birthday = (month + 18 * 12).astype("datetime64[D]") + (born - month.astype("datetime64[D]"))
    return np.asarray(_EPOCH.astype("datetime64[D]") + np.floor(days).astype("timedelta64[D]") >= birthday)


def fhir_dates(ages: Floats) -> list[str]:
    """Dates of birth as FHIR writes them."""
    texts: list[str] = np.datetime_as_string(birth_dates(ages)).tolist()
    return texts
