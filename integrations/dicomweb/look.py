"""A first look at a PACS, before anything is taken in: how it knows us, what it gives, and a first page as a sample."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from integrations.dicomweb.fetch import FILE
from integrations.dicomweb.needed import needed_study
from integrations.dicomweb.pacs import Pacs
from integrations.dicomweb.tags import BODY_PART, MODALITIES
from integrations.dicomweb.wanted import WantedStudies
from integrations.limits import Limits
from integrations.web.ask import Server
from integrations.web.origin import origin

SAMPLE = 50  # studies


@dataclass(frozen=True, kw_only=True)
class PacsLook:
    """What is seen of a PACS. `doubts`: what the contract counts on and the sample does not show."""

    address: str
    way_in: str
    study_count: int
    unasked_count: int  # attributes that it sends though nobody asked for them; they are dropped
    doubts: tuple[str, ...]


def look_at_pacs(server: Server, wanted: WantedStudies, limits: Limits, folder: Path) -> PacsLook:
    """Ask for a first page, write what is needed of it into `folder`, and say what was seen.

    Raises Refused and EnvironmentFault when there is no answer to be had.
    """
    small = replace(wanted, qido=wanted.qido.model_copy(update={"page_size": SAMPLE}))
    pacs = Pacs(server=server, wanted=small, limits=limits)
    studies = pacs.studies(0)
    series = [pacs.series_of(study) for study in studies[:SAMPLE]]
    lines = [needed_study(*each) for each in zip(studies, [wanted.tags] * len(series), series, strict=False)]
    (folder / FILE).write_bytes(b"".join(line + b"\n" for line in lines))
    asked = {tag.number for tag in wanted.tags}
    return PacsLook(
        address=origin(server.base),
        way_in=server.authorization.partition(" ")[0] or ("token" if server.tokens else "no password and no token"),
        study_count=len(studies),
        unasked_count=len({name for study in studies if isinstance(study, dict) for name in study} - asked),
        doubts=tuple(_doubts(studies, series, wanted)),
    )


def _doubts(studies: Sequence[Any], series: Sequence[list[Any] | None], wanted: WantedStudies) -> Iterator[str]:
    """What the contract counts on and the sample does not show, in sentences."""
    within = [each for found in series for each in found or ()]
    if not studies:
        yield "it gives no study: check qido.first_date, and what our account may see"
        return
    if len(studies) > SAMPLE:
        yield f"it gives {len(studies):,} studies where {SAMPLE} were asked for: it may not know limit and offset"
    if not wanted.qido.asks_series and not any(_has(study, MODALITIES.number) for study in studies):
        yield "it does not say which modalities a study has: set asks_series: true under qido in the contract"
    if not any(_has(each, BODY_PART.number) for each in (*studies, *within)):
        yield "no study of the sample has a body part: body_site will be empty"


def _has(sent: Any, number: str) -> bool:
    element = sent.get(number) if isinstance(sent, dict) else None
    return isinstance(element, dict) and bool(element.get("Value"))
