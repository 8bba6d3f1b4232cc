"""How a feed is asked for, as its contract says it: a FHIR server for an export, a PACS for its studies."""

import re
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

STRICT = ConfigDict(frozen=True, extra="forbid")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _duration(value: object) -> object:
    """Read `7d`, `36h` or `90m`."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)([mhd])", value)):
        return timedelta(**{UNITS[match[2]]: int(match[1])})
    if isinstance(value, timedelta):
        return value
    raise ValueError("a duration is a number and m, h or d, such as 7d")


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class Export(BaseModel):
    """How a FHIR feed is fetched from its server, whose address stands under `endpoints` of settings.yaml.

    method: `bulk` is the Bulk Data export, `search` pages of `_lastUpdated` for servers that have none. scope: whose
    resources a bulk export covers; of a group, the endpoint names it. type_filters: `Observation?category=laboratory`.
    overlap: so much earlier than the last export ended is asked from, where `_since` cannot be trusted.
    """

    model_config = STRICT

    method: Literal["bulk", "search"] = "bulk"
    scope: Literal["system", "patient", "group"] = "system"
    types: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+$")], ...] = Field(min_length=1)
    type_filters: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+\?[^,\s]+$")], ...] = ()
    overlap: Duration = timedelta()
    page_size: int = Field(500, ge=1, le=10_000)
    parallel: int = Field(4, ge=1, le=16)

    @field_validator("type_filters")
    @classmethod
    def _leave_time_and_pages_alone(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [each for each in value if re.search(r"[?&](_lastUpdated|_count|_since)[=:]", each)]:
            raise ValueError(f"{wrong[0]}: _lastUpdated, _since and _count are set by each export itself")
        return value


class Qido(BaseModel):
    """How a dicomweb feed is asked for its studies, at the address under `endpoints` of settings.yaml.

    overlap: studies dated so much before the last fetch are asked for again, since a study changes after its date.
    first_date: none dated earlier is asked for. asks_series: the series of each study too, one more request a study.
    """

    model_config = STRICT

    overlap: Duration = Field(timedelta(days=7), ge=timedelta(days=1))
    first_date: date | None = None
    page_size: int = Field(200, ge=1, le=1_000)
    asks_series: bool = True
