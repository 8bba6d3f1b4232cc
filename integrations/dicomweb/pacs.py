"""One PACS, asked page by page: studies, and the series of a study. Its answers are only ever in memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import orjson

from integrations.dicomweb.tags import SERIES_COUNT, STUDY_UID
from integrations.dicomweb.wanted import WantedStudies
from integrations.errors import Refused
from integrations.limits import Limits
from integrations.sent import MOST_VALUES, json_depth, value_count
from integrations.web.ask import Answer, Server
from integrations.web.origin import origin
from integrations.web.patience import NotNow

ACCEPTED = "application/dicom+json, application/json;q=0.5"
UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
CLOSED, NO_SUCH = (401, 403), (404, 410)


@dataclass(frozen=True, kw_only=True)
class Pacs:
    """A server that answers QIDO-RS."""

    server: Server
    wanted: WantedStudies
    limits: Limits

    def studies(self, offset: int) -> list[Any]:
        """A page of studies; empty when there are no more. Raises Refused, and EnvironmentFault when it stays away."""
        url = self.wanted.studies_url(self.server.base, offset)
        found = self._patiently(url)
        if found is None:
            raise Refused(
                "there are no studies at this address",
                where=origin(url),
                to_do="check base_url: https://HOST/dicom-web",
            )
        return found

    def series_of(self, study: Any) -> list[Any] | None:
        """The series of a study; null where they are not asked for, or its number cannot be read."""
        uid = _only_value(study, STUDY_UID.number)
        if not self.wanted.qido.asks_series or not isinstance(uid, str) or not UID.fullmatch(uid.strip(" \0")):
            return None
        said = _only_value(study, SERIES_COUNT.number)
        expected = said if type(said) is int else None
        return list(self._series(uid.strip(" \0"), expected))

    def _series(self, uid: str, expected: int | None) -> Iterator[Any]:
        """Yield the series, until there are as many as the study says, or no more come."""
        offset, last = 0, list[Any]()
        while True:
            found = self._patiently(self.wanted.series_url(self.server.base, uid, offset)) or []
            if not found or found == last:
                return
            yield from found
            offset, last = offset + len(found), found
            if offset > self.limits.most_files:
                raise Refused(
                    f"a study has more than {self.limits.most_files:,} series",
                    where=origin(self.server.base),
                    to_do="tell the keeper of the PACS, or set asks_series: false under qido in the contract",
                )
            if expected is not None and offset >= expected:
                return

    def _patiently(self, url: httpx.URL) -> list[Any] | None:
        return self.server.patiently(partial(self._answered, url))

    def _answered(self, url: httpx.URL) -> list[Any] | None:
        """Ask once; null for what does not exist. Raises NotNow for what cannot be read: it may have been cut."""
        answer = self.server.once("GET", url, self.limits.longest_line, headers={"Accept": ACCEPTED})
        if answer.status in NO_SUCH:
            return None
        if answer.status == 204:
            return []
        if answer.status != 200:
            raise _will_not(answer, url)
        if value_count(answer.content) > MOST_VALUES or json_depth(answer.content) > self.limits.deepest_json:
            raise Refused(
                "an answer holds more values, or lies deeper within itself, than can be read",
                where=origin(url),
                to_do="ask for less at a time: page_size under qido in the contract",
            )
        try:
            found = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, list):
            raise NotNow("its answer is no list of studies or series")
        return found


def _will_not(answer: Answer, url: httpx.URL) -> Refused:
    if answer.status in CLOSED:
        to_do = "check user and password, bearer_token or client certificate of the endpoint"
        return Refused(f"the PACS does not let us in: {answer.status}", where=origin(url), to_do=to_do)
    return Refused(
        f"the PACS will not answer QIDO-RS: {answer.status}",
        where=origin(url),
        to_do="ask for less at a time (page_size), or for no series (asks_series: false), under qido in the contract",
    )


def _only_value(study: Any, number: str) -> Any:
    """The one value of an attribute; null when there is none, or it is not in the form of DICOM JSON."""
    element = study.get(number) if isinstance(study, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and len(values) == 1 else None
