"""The EHR's own FHIR server: each RiskAssessment is created unless one with its identifier is already there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any

import httpx
import stamina

from integrations.errors import WrongUsage
from integrations.web.breaker import Breaker
from integrations.web.endpoint import safe_address
from integrations.web.patience import NotNow
from integrations.write_back.fhir_answers import PutOff, check_create, check_search, ids_found, issue_codes, location
from integrations.write_back.target import Delivery, Outgoing

FHIR_JSON = "application/fhir+json"
LONGEST_WAIT_HERE = timedelta(seconds=5)  # a longer Retry-After waits in the outbox


@dataclass(frozen=True, kw_only=True)
class FhirTarget:
    """Sends one after the other over one connection; `tries` per resource, then the outbox tries again later.

    breaker: what all who speak with this server have learnt of it; while its circuit is open nothing is tried.
    """

    client: httpx.Client
    breaker: Breaker | None = None
    tries: int = 3
    first_wait: timedelta = timedelta(milliseconds=200)

    @property
    def name(self) -> str:
        return "fhir"

    def send(self, batch: Sequence[Outgoing]) -> Iterator[Delivery]:
        """Send a batch; once the server turns out to be down, the rest is put off untried."""
        down: Delivery | None = None
        for each in batch:
            delivery = replace(down, is_untried=True) if down else self._deliver(each)
            if delivery.is_target_down:
                down = delivery
            yield delivery

    def _deliver(self, outgoing: Outgoing) -> Delivery:
        try:
            return self._deliver_in_tries(outgoing)
        except PutOff as error:
            return _put_off(error.reason, retry_after=error.retry_after, is_target_down=error.is_target_down)
        except NotNow as error:
            return replace(_put_off(error.reason, retry_after=error.retry_after, is_target_down=True), is_untried=True)
        except httpx.DecodingError:
            return _put_off("the server's answer is garbled", is_target_down=True)
        except httpx.TransportError as error:
            return _put_off(f"the server cannot be reached: {type(error).__name__}", is_target_down=True)

    def _asked(self, method: str, **sent: Any) -> httpx.Response:
        """Ask once; the breaker may say no, and learns what came of it."""
        if self.breaker:
            self.breaker.check()
        try:
            answer = self.client.request(method, "RiskAssessment", **sent)
        except httpx.TransportError:
            if self.breaker:
                self.breaker.failed()
            raise
        if self.breaker and answer.status_code > 500:  # a 500 may be the resource's own fault
            self.breaker.failed()
        elif self.breaker:
            self.breaker.succeeded()
        return answer

    def _deliver_in_tries(self, outgoing: Outgoing) -> Delivery:
        """Create it; whenever an earlier try may have got through, look first."""
        handed_over = count(int(outgoing.may_be_there))

        def once() -> Delivery:
            if outgoing.void_because:
                return self._look(outgoing, outgoing.void_because)
            found = self._find(outgoing) if next(handed_over) else None
            return found or self._create(outgoing)

        again = stamina.RetryingCaller(
            attempts=self.tries, timeout=None, wait_initial=self.first_wait, wait_jitter=self.first_wait
        )
        return again(_wait, once)

    def _create(self, outgoing: Outgoing) -> Delivery:
        headers = {"Content-Type": FHIR_JSON, "If-None-Exist": outgoing.query, "Prefer": "return=minimal"}
        answer = self._asked("POST", json=outgoing.resource, headers=headers)
        check_create(answer)
        if place := location(answer, outgoing):
            return Delivery(status="acknowledged", location=place)
        if answer.is_success or answer.status_code in (409, 412):
            said = f"the server answered {answer.status_code}{issue_codes(answer)}"
            return self._find(outgoing) or _put_off(f"{said}, yet does not have it")
        return _refusal(answer)

    def _look(self, outgoing: Outgoing, void_because: str) -> Delivery:
        """Say whether one that may not be sent any more had got through before."""
        found = self._search(outgoing)
        if found is None:
            return _put_off(f"{void_because}, and the server does not say whether it has it")
        return _found(found) or Delivery(status="void", reason=void_because)

    def _find(self, outgoing: Outgoing) -> Delivery | None:
        """Read back by identifier; None when it is not there, or the server has no search."""
        return _found(self._search(outgoing) or [])

    def _search(self, outgoing: Outgoing) -> list[str] | None:
        """Return the ids under which the server holds this identifier; None when it has no search for us."""
        query = {"identifier": f"{outgoing.system}|{outgoing.identifier}"}
        answer = self._asked("GET", params=query, headers={"Accept": FHIR_JSON})
        check_search(answer)
        return ids_found(answer, outgoing) if answer.is_success else None


@contextmanager
def open_fhir_target(
    base_url: str, token: str | None = None, *, breaker: Breaker | None = None, timeout: float = 30
) -> Iterator[FhirTarget]:
    """Open the connection to the EHR. Raises WrongUsage when there is no address, or a token would go unencrypted."""
    try:
        url = safe_address(base_url, has_secret=bool(token))
    except WrongUsage as error:
        to_do = "set ROUNDS_FHIR_BASE_URL, such as https://HOST/fhir"
        raise WrongUsage(f"fhir_base_url: {error.what}", to_do=to_do) from None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # a redirect would take token and patient elsewhere
    with httpx.Client(base_url=url, headers=headers, timeout=timeout, follow_redirects=False) as client:
        yield FhirTarget(client=client, breaker=breaker)


def _found(ids: Sequence[str]) -> Delivery | None:
    """There once, not there, or there more than once, which only people can put right."""
    if len(ids) > 1:
        return Delivery(status="dead", reason=f"the EHR holds {len(ids)} of this identifier: {', '.join(ids)}")
    return Delivery(status="acknowledged", location=f"RiskAssessment/{ids[0]}") if ids else None


def _put_off(reason: str, *, retry_after: timedelta = timedelta(0), is_target_down: bool = False) -> Delivery:
    return Delivery(status="failed", reason=reason, retry_after=retry_after, is_target_down=is_target_down)


def _refusal(answer: httpx.Response) -> Delivery:
    """A FHIR server that will not have it says why in an OperationOutcome; without one it may be a proxy that spoke."""
    codes = issue_codes(answer)
    if codes or answer.status_code == 413:
        return Delivery(status="dead", reason=f"refused with {answer.status_code}{codes}")
    return _put_off(f"refused with {answer.status_code}, without a reason in FHIR")


def _wait(error: Exception) -> bool | timedelta:
    """Return whether, or after how long, to try again within this run."""
    if isinstance(error, PutOff):
        return error.is_passing and error.retry_after <= LONGEST_WAIT_HERE and (error.retry_after or True)
    return isinstance(error, httpx.TransportError)
