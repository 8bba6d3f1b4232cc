"""The EHR's own FHIR server: each RiskAssessment is created unless one with its identifier is already there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from itertools import count

import httpx
import stamina

from integrations.errors import WrongUsage
from integrations.fhir.risk_assessment import Resource
from integrations.write_back.target import Delivery, Outgoing

FHIR_JSON = "application/fhir+json"
NOT_NOW = (408, 425, 429, 500, 502, 503, 504)
# Not about this resource: a wrong address, a token that ran out. Nothing is given up for it, and nothing else is tried.
NOT_US = (401, 403, 404, 405)
LONGEST_WAIT_HERE = timedelta(seconds=5)  # a longer Retry-After waits in the outbox


class NotNow(Exception):
    """The server may take it later."""

    def __init__(self, status: int, retry_after: timedelta) -> None:
        self.status, self.retry_after = status, retry_after
        super().__init__(f"the server answers {status}")


@dataclass(frozen=True, kw_only=True)
class FhirTarget:
    """Sends one after the other over one connection; `tries` per resource, then the outbox tries again later."""

    client: httpx.Client
    tries: int = 3
    first_wait: timedelta = timedelta(milliseconds=200)

    @property
    def name(self) -> str:
        return "fhir"

    def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
        """Send a batch; once the server turns out to be down, the rest is put off untried."""
        deliveries: list[Delivery] = []
        for each in batch:
            if deliveries and deliveries[-1].is_target_down:
                deliveries.append(deliveries[-1])
            else:
                deliveries.append(self._deliver(each))
        return deliveries

    def _deliver(self, outgoing: Outgoing) -> Delivery:
        try:
            return self._deliver_in_tries(outgoing)
        except NotNow as error:
            is_down = error.status != 500  # a 500 may be this resource's own fault
            return _put_off(str(error), retry_after=error.retry_after, is_target_down=is_down)
        except httpx.TransportError as error:
            return _put_off(f"the server cannot be reached: {type(error).__name__}", is_target_down=True)

    def _deliver_in_tries(self, outgoing: Outgoing) -> Delivery:
        """Create it; whenever an earlier try may have got through, look first."""
        handed_over = count(int(outgoing.may_be_there))

        def once() -> Delivery:
            found = self._find(outgoing) if next(handed_over) else None
            return found or self._create(outgoing)

        again = stamina.RetryingCaller(
            attempts=self.tries, timeout=None, wait_initial=self.first_wait, wait_jitter=self.first_wait
        )
        return again(_wait, once)

    def _create(self, outgoing: Outgoing) -> Delivery:
        headers = {"Content-Type": FHIR_JSON, "If-None-Exist": outgoing.query, "Prefer": "return=minimal"}
        answer = self.client.post("RiskAssessment", json=outgoing.resource, headers=headers)
        _raise_when_busy(answer)
        if answer.status_code in NOT_US or answer.is_redirect:
            return _put_off(f"the server answers {answer.status_code} to any create", is_target_down=True)
        if answer.is_success and (location := _location(answer)):
            return Delivery(status="acknowledged", location=location)
        if answer.is_success or answer.status_code in (409, 412):
            return self._find(outgoing) or _put_off(f"the server answered {answer.status_code}, yet does not have it")
        return Delivery(status="dead", reason=f"refused with {answer.status_code}{_issues(answer)}")

    def _find(self, outgoing: Outgoing) -> Delivery | None:
        """Read back by identifier: there once, not there, or there more than once, which only people can put right."""
        query = {"identifier": f"{outgoing.system}|{outgoing.identifier}"}
        answer = self.client.get("RiskAssessment", params=query, headers={"Accept": FHIR_JSON})
        _raise_when_busy(answer)
        if not answer.is_success:
            return None
        found = [each["resource"]["id"] for each in answer.json().get("entry", []) if "resource" in each]
        if len(found) > 1:
            return Delivery(status="dead", reason=f"the EHR holds {len(found)} of this identifier: {', '.join(found)}")
        return Delivery(status="acknowledged", location=f"RiskAssessment/{found[0]}") if found else None


@contextmanager
def open_fhir_target(base_url: str, token: str | None = None, *, timeout: float = 30) -> Iterator[FhirTarget]:
    """Open the connection to the EHR. Raises WrongUsage when there is no address, or a token would go unencrypted."""
    url = httpx.URL(base_url.rstrip("/") + "/")
    if url.scheme not in ("http", "https") or not url.host:
        raise WrongUsage(
            "fhir_base_url is not an http address", to_do="set ROUNDS_FHIR_BASE_URL, such as https://HOST/fhir"
        )
    if token and url.scheme == "http" and url.host not in ("127.0.0.1", "localhost", "::1"):
        raise WrongUsage("the token would travel unencrypted", where=base_url, to_do="give an https address")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=url, headers=headers, timeout=timeout) as client:
        yield FhirTarget(client=client)


def _put_off(reason: str, *, retry_after: timedelta = timedelta(0), is_target_down: bool = False) -> Delivery:
    return Delivery(status="failed", reason=reason, retry_after=retry_after, is_target_down=is_target_down)


def _wait(error: Exception) -> bool | timedelta:
    """Return whether, or after how long, to try again within this run."""
    if isinstance(error, NotNow):
        return error.retry_after <= LONGEST_WAIT_HERE and (error.retry_after or True)
    return isinstance(error, httpx.TransportError)


def _raise_when_busy(answer: httpx.Response) -> None:
    if answer.status_code in NOT_NOW:
        raise NotNow(answer.status_code, _retry_after(answer))


def _retry_after(answer: httpx.Response) -> timedelta:
    """Read Retry-After, in seconds or as a date beside the server's own clock; zero when there is none to read."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return timedelta(seconds=int(text))
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(answer.headers.get("Date", ""))
    except (TypeError, ValueError):
        return timedelta(0)
    return max(wait, timedelta(0))


def _location(answer: httpx.Response) -> str | None:
    """Return `RiskAssessment/<id>` from the Location header or the body."""
    path = answer.headers.get("Location", "").partition("/_history")[0].split("/")
    if len(path) > 1 and path[-2] == "RiskAssessment":
        return f"RiskAssessment/{path[-1]}"
    body = _json(answer)
    return f"RiskAssessment/{body['id']}" if body.get("resourceType") == "RiskAssessment" and "id" in body else None


def _issues(answer: httpx.Response) -> str:
    """Return the codes of the server's complaints; its words could hold a value of the patient."""
    codes = [str(each.get("code")) for each in _json(answer).get("issue", [])]
    return f" ({', '.join(codes)})" if codes else ""


def _json(answer: httpx.Response) -> Resource:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
