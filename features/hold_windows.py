"""How far before prediction_time a result in quarantine holds a feature: as far as the feature looks back.

The header of a view names it for all of its features, and in lines of its own for those that look back further:
`-- longer hold window: 365 days creatinine_median_365d_mg_dl`.
"""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path

from integrations.errors import WrongUsage


def time_span(text: str, path: Path) -> timedelta:
    """Read a time span of a header. Raises WrongUsage for what is none."""
    match = re.fullmatch(r"(\d+) (hours|days)", text.strip())
    if match is None:
        raise WrongUsage(f"'{text}' is no time span", where=str(path), to_do="write it like 48 hours or 7 days")
    return timedelta(**{match[2]: int(match[1])})


def longer_windows(text: str, features: Collection[str], shortest: timedelta, path: Path) -> Mapping[str, timedelta]:
    """Read the hold windows of single features. Raises WrongUsage for one unknown, twice named, or no longer."""
    found: dict[str, timedelta] = {}
    for each in filter(None, text.split(",")):
        count, unit, *names = each.split()
        window = time_span(f"{count} {unit}", path)
        if window <= shortest or not names or not {*names} <= {*features} - {*found}:
            raise WrongUsage(
                f"'-- longer hold window: {each.strip()}' names a feature that the view has not or that has one"
                " already, or is not longer than the hold window of the view",
                where=str(path),
                to_do="write it like 365 days FEATURE FEATURE, each feature once",
            )
        found |= dict.fromkeys(names, window)
    return found
