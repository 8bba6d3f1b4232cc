"""How far before prediction_time a result in quarantine holds a feature: as far as the feature looks back.

The header of a view names it for all of its features, and in lines of its own for those that look back further:
`-- longer hold window: 365 days creatinine_median_365d_mg_dl`.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path

from features.view_words import time_span
from integrations.errors import WrongUsage


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
