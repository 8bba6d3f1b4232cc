"""What a FHIR server's answer means for one RiskAssessment. Any body may be a login page, or anything else."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from integrations.fhir.risk_assessment import FHIR_ID, Resource
from integrations.web.ask import objects
from integrations.web.patience import NotNow, is_busy, retry_after
from integrations.write_back.target import Outgoing

REFUSED = (400, 409, 412, 413, 422)  # about this very resource; any other 4xx is about our address, token or rights
ISSUE_CODE = re.compile(r"[a-z-]{1,40}")


class PutOff(NotNow):
    """What stands in the way of one RiskAssessment. `is_passing`: perhaps gone in a moment; `status`: 0 for none."""

    def __init__(
        self,
        reason: str,
        *,
        retry_after: timedelta = timedelta(0),
        is_target_down: bool = True,
        is_passing: bool = False,
        status: int = 0,
    ) -> None:
        self.is_target_down, self.is_passing, self.status = is_target_down, is_passing, status
        super().__init__(reason, retry_after=retry_after)


def check_search(answer: httpx.Response) -> None:
    """Raise PutOff unless it is an answer to our search; a plain refusal means that the server has none for us."""
    _check_not_busy(answer)
    if answer.is_redirect or answer.status_code == 401:
        raise _not_for_us(answer)


def check_create(answer: httpx.Response) -> None:
    """Raise PutOff unless it is an answer to this very create."""
    _check_not_busy(answer)
    if not answer.is_success and answer.status_code not in REFUSED:
        raise _not_for_us(answer)


def _check_not_busy(answer: httpx.Response) -> None:
    if is_busy(answer.status_code):
        raise PutOff(
            f"the server answers {answer.status_code}",
            retry_after=retry_after(answer.headers),
            status=answer.status_code,
            is_target_down=answer.status_code != 500,  # a 500 may be this resource's own fault
            is_passing=True,
        )


def _not_for_us(answer: httpx.Response) -> PutOff:
    if answer.is_redirect:
        return PutOff(
            f"the server answers {answer.status_code} and points elsewhere, where our token does not go; "
            "let ROUNDS_FHIR_BASE_URL be the address itself"
        )
    return PutOff(f"the server answers {answer.status_code}; check ROUNDS_FHIR_BASE_URL, ROUNDS_FHIR_TOKEN and rights")


def ids_found(answer: httpx.Response, outgoing: Outgoing) -> list[str]:
    """Return the ids of the RiskAssessments with this identifier in a searchset. Raises PutOff when it is none."""
    bundle = body_of(answer)
    try:
        if bundle["resourceType"] != "Bundle":
            raise TypeError
        matches = [each["resource"] for each in bundle.get("entry", ()) if _is_match(each, outgoing)]
        return list(dict.fromkeys(_checked_id(each) for each in matches))
    except (AttributeError, KeyError, TypeError):
        raise PutOff(
            f"the server answers {answer.status_code} to a search, but with no Bundle that can be read; "
            "is there a login page or a proxy in between?"
        ) from None


def _is_match(entry: Any, outgoing: Outgoing) -> bool:
    """A searchset may hold an OperationOutcome too, and a server that knows no identifier returns everything."""
    return entry.get("search", {}).get("mode") != "outcome" and is_ours(entry.get("resource", {}), outgoing)


def is_ours(resource: Any, outgoing: Outgoing) -> bool:
    """Return whether it is a RiskAssessment with the identifier that we sent."""
    if not isinstance(resource, dict) or resource.get("resourceType") != "RiskAssessment":
        return False
    names = [(each.get("system"), each.get("value")) for each in objects(resource.get("identifier"))]
    return (outgoing.system, outgoing.identifier) in names


def _checked_id(resource: Any) -> str:
    if not FHIR_ID.fullmatch(resource["id"]):
        raise TypeError
    return str(resource["id"])


def location(answer: httpx.Response, outgoing: Outgoing) -> str | None:
    """Return `RiskAssessment/<id>` where a 200 or 201 says that it is there; None when that is to be read back."""
    body = body_of(answer)
    is_another = body.get("resourceType", "OperationOutcome") != "OperationOutcome" and not is_ours(body, outgoing)
    if answer.status_code not in (200, 201) or _says_error(body) or is_another:
        return None
    found = _id_in_location(answer.headers.get("Location", ""))
    if found is None and is_ours(body, outgoing):
        found = body.get("id")
    return f"RiskAssessment/{found}" if isinstance(found, str) and FHIR_ID.fullmatch(found) else None


def _id_in_location(text: str) -> str | None:
    try:
        path = urlsplit(text).path.partition("/_history")[0].split("/")
    except ValueError:
        return None
    return path[-1] if path[-2:-1] == ["RiskAssessment"] else None


def _says_error(body: Resource) -> bool:
    return any(each.get("severity") in ("error", "fatal") for each in objects(body.get("issue")))


def issue_codes(answer: httpx.Response) -> str:
    """Return the codes of the server's complaints; its words could hold a value of the patient."""
    codes = [str(each.get("code")) for each in objects(body_of(answer).get("issue"))]
    known = [code if ISSUE_CODE.fullmatch(code) else "unknown" for code in codes]
    return f" ({', '.join(known)})" if known else ""


def body_of(answer: httpx.Response) -> Resource:
    """Return the JSON object in the body; empty when it is something else."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
