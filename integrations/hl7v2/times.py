"""Which times of a message the tables can take: as integrations/ingest/instants.py reads them, told before it does."""

import re
from datetime import date

# 20240301100000.5-0600; seconds, their fraction and the offset may be missing, the minute may not.
WHOLE = re.compile(
    r"(\d{4})(\d\d)(\d\d)((?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d(?:\.\d*)?)?|2400(?:00)?)(?:Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
DAY = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)


def is_time(text: str, *, may_be_a_day: bool = False) -> bool:
    """Whether a text is an instant, or, where the contract lets a date stand for one, a date."""
    found = WHOLE.fullmatch(text) or (DAY.fullmatch(text) if may_be_a_day else None)
    if found is None:
        return False
    year, month, day = (int(found[place]) for place in (1, 2, 3))
    try:
        date(year or 4, month, day)  # year 0 had a leap day; it is an impossible time, and no bad one
    except ValueError:
        return False
    return True
