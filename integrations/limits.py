"""How much a feed may send: beyond it an extract is refused as a whole, or one record is quarantined.

Refused: too many files, a file too large, packed files that come to too much. Quarantined: a line too long or too deep.
"""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from integrations.errors import Refused

SIZES = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def _size(value: object) -> object:
    """Read `20GB`, `32MB` or `64KB`."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)(KB|MB|GB)", value)):
        return int(match[1]) * SIZES[match[2]]
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("a size is a number and KB, MB or GB, such as 20GB")


Size = Annotated[int, BeforeValidator(_size), Field(ge=1)]


class Limits(BaseModel):
    """The most that one extract, one file and one line may be.

    most_files: with the folders among them. largest_file: as it arrives. largest_unpacked: all packed files of an
    extract together, after decompression. longest_line: a line of FHIR, or the manifest that a sender adds.
    deepest_json: lists and objects within each other in one line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    most_files: Annotated[int, Field(ge=1)] = 20_000
    largest_file: Size = 20 << 30
    largest_unpacked: Size = 100 << 30
    longest_line: Size = 32 << 20
    deepest_json: Annotated[int, Field(ge=10, le=1_000)] = 1_000  # the second reader of a line takes 1,024


DEFAULT_LIMITS = Limits()


def beyond(what: str, where: str, limit: str) -> Refused:
    """The error of what is more than a limit allows."""
    to_do = f"ask the sender; if it is right, raise {limit} under limits in the contract"
    return Refused(what, where=where, to_do=to_do)
