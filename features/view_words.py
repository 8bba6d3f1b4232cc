"""The words of a view's SQL file: its header lines, its features with their units, and spans of time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from integrations.errors import WrongUsage

UNITS = {
    "_mg_dl": "mg/dL",
    "_g_dl": "g/dL",
    "_mmol_l": "mmol/L",
    "_10e3_ul": "10*3/uL",
    "_ng_ml": "ng/mL",
    "_iu_l": "[IU]/L",
    "_ph": "[pH]",
    "_ml": "mL",
    "_kg": "kg",
    "_per_min": "/min",
    "_mm_hg": "mm[Hg]",
    "_percent": "%",
    "_cel": "Cel",
    "_years": "years",
    "_days": "days",
    "_hours": "hours",
    "_count": "count",
    "_ratio": "ratio",
    "_score": "score",
}
FEATURE = re.compile(r"\bas (\w+),?\s*-- (.+)$", re.MULTILINE)
PATTERN = re.compile(r"\bas (\{word\}[\w{}]+),?\s*-- (.+)$", re.MULTILINE)
HEADER = re.compile(r"^-- (codes|no codes|hold window|longer hold window|owner|freshness): (.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One number about a patient at prediction_time; a flag is 0 or 1, null is not known."""

    name: str
    unit: str
    description: str


def features_of_sql(sql: str, path: Path) -> tuple[Feature, ...]:
    """Return what the last select gives. Raises WrongUsage where it gives nothing, or a feature without unit."""
    last_select = sql[sql.rindex("\nselect\n") :]
    found = tuple(
        Feature(name=name, unit=_unit(name, path), description=text) for name, text in FEATURE.findall(last_select)
    )
    if not found:
        raise WrongUsage(
            "no feature found in the last select", where=str(path), to_do="write `... as name, -- what it is`"
        )
    return found


def _unit(name: str, path: Path) -> str:
    if name.startswith("is_"):
        return "flag"
    of, per_day = (name.removesuffix("_per_day"), " per day") if name.endswith("_per_day") else (name, "")
    for suffix, unit in UNITS.items():
        if of.endswith(suffix):
            return unit + per_day
    raise WrongUsage(
        f"feature {name} does not end in its unit", where=str(path), to_do=f"one of {', '.join(UNITS)}, or is_"
    )


def names_without_codes(text: str, features: Sequence[Feature], path: Path) -> frozenset[str]:
    """Return the features that draw on no code. Raises WrongUsage for one that the view does not give."""
    names = frozenset(each.strip() for each in text.split(",") if each.strip())
    unknown = sorted(names - {feature.name for feature in features})
    if unknown:
        raise WrongUsage(
            f"'-- no codes: ' names {', '.join(unknown)}",
            where=str(path),
            to_do="name features of the last select there",
        )
    return names


def time_span(text: str, path: Path) -> timedelta:
    """Read a span of hours or days."""
    match = re.fullmatch(r"(\d+) (hours|days)", text.strip())
    if match is None:
        raise WrongUsage(f"'{text}' is no time span", where=str(path), to_do="write it like 48 hours or 7 days")
    return timedelta(**{match[2]: int(match[1])})
