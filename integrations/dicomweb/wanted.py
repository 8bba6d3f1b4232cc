"""What is asked of a PACS: which attributes of which studies, dated from when on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import httpx

from integrations.asking import Qido
from integrations.contract import Contract
from integrations.dicomweb.tags import OF_A_SERIES, Tag, study_tags
from integrations.errors import WrongUsage


@dataclass(frozen=True, kw_only=True)
class WantedStudies:
    """One fetch of a feed. `since`: studies dated on that day or later; null for all, also those without a date."""

    qido: Qido
    tags: tuple[Tag, ...]
    since: date | None = None

    @classmethod
    def of(cls, contract: Contract) -> "WantedStudies":
        """Everything that a contract lets us ask for. Raises WrongUsage where it does not let us ask at all."""
        if contract.qido is None:
            raise WrongUsage(f"{contract.source} is not fetched from a PACS", to_do="give the extract with --from")
        return cls(qido=contract.qido, tags=study_tags(contract), since=contract.qido.first_date)

    def digest(self, base: httpx.URL) -> str:
        """A hash of what is asked for, but for the time: another PACS or attribute is another question."""
        numbers = [tag.number for tag in self.tags]
        asked = (str(base), numbers, self.qido.asks_series, str(self.qido.first_date))
        return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]

    def dated_from(self, fetched_until: datetime | None, contract: Contract) -> date | None:
        """The first day to ask for after a fetch: the overlap earlier than that one, by the clock of the feed."""
        if fetched_until is None:
            return self.since
        day = (fetched_until - self.qido.overlap).astimezone(contract.zone).date()
        return max(day, self.since) if self.since else day

    def studies_url(self, base: httpx.URL, offset: int) -> httpx.URL:
        """The page of studies that begins at `offset`."""
        dated = [("StudyDate", f"{self.since:%Y%m%d}-")] if self.since else []
        return _page(base.join("studies"), self.qido.page_size, offset, self.tags, dated)

    def series_url(self, base: httpx.URL, study_uid: str, offset: int) -> httpx.URL:
        """The page of a study's series that begins at `offset`."""
        return _page(base.join(f"studies/{study_uid}/series"), self.qido.page_size, offset, OF_A_SERIES, [])


def _page(url: httpx.URL, limit: int, offset: int, tags: Sequence[Tag], more: list[tuple[str, str]]) -> httpx.URL:
    asked = [*more, ("limit", str(limit)), ("offset", str(offset))]
    return url.copy_with(params=httpx.QueryParams([*asked, *(("includefield", tag.number) for tag in tags)]))
