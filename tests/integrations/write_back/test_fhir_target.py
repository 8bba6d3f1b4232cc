"""Write-back over HTTP to servers that answer badly."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from integrations.errors import WrongUsage
from integrations.records import Records
from integrations.web.breaker import FIRST_OPEN, MOST_FAILURES, Breaker
from integrations.web.patience import NotNow
from integrations.write_back.fhir_target import FhirTarget, open_fhir_target
from integrations.write_back.target import Delivery, Outgoing
from tests.integrations.write_back.conftest import SYSTEM

MOMENT = timedelta(milliseconds=1)


# --- servers that answer badly: each is a function from request to response ---

Answer = Callable[[httpx.Request], httpx.Response]
CREATED = httpx.Response(201, headers={"Location": "https://ehr.test/fhir/RiskAssessment/9/_history/1"})
OURS = {
    "resourceType": "RiskAssessment",
    "id": "9",
    "identifier": [{"system": SYSTEM, "value": "6a4c2c7e-97fb-5a8e-9dbb-b4f4a3e7d001"}],
}
ANOTHER = OURS | {"id": "8", "identifier": [{"system": SYSTEM, "value": "another"}]}
REMARK = {"resourceType": "OperationOutcome", "id": "remark", "issue": []}


def searchset(*resources: Any, mode: str = "match") -> httpx.Response:
    entries = [{"resource": each, "search": {"mode": mode}} for each in resources]
    return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": entries})


FOUND = searchset(OURS)
NONE = httpx.Response(200, json={"resourceType": "Bundle"})
LOGIN_PAGE = httpx.Response(200, text="<html>sign in</html>")
ACKNOWLEDGED = Delivery(status="acknowledged", location="RiskAssessment/9")


def asked(outgoing: Outgoing, *answers: httpx.Response | Exception, count: int = 1) -> tuple[list[Delivery], list[str]]:
    """Send it to a server that gives these answers in turn; return what was made of them and what it was asked."""
    methods: list[str] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        response = left.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    with httpx.Client(base_url="https://ehr.test/fhir/", transport=httpx.MockTransport(answer)) as client:
        return list(FhirTarget(client=client, first_wait=MOMENT).send([outgoing] * count)), methods


def test_a_busy_server_is_asked_again_after_a_look_whether_it_took_it(outgoing: Outgoing) -> None:
    busy = httpx.Response(503, headers={"Retry-After": "0"})
    assert asked(outgoing, busy, NONE, CREATED) == ([ACKNOWLEDGED], ["POST", "GET", "POST"])


def test_a_lost_answer_is_found_by_reading_back(outgoing: Outgoing) -> None:
    assert asked(outgoing, httpx.ReadTimeout("late"), FOUND) == ([ACKNOWLEDGED], ["POST", "GET"])


def test_a_server_without_search_is_simply_asked_again(outgoing: Outgoing) -> None:
    lost, no_search = httpx.ReadError("cut"), httpx.Response(400)
    assert asked(outgoing, lost, no_search, CREATED) == ([ACKNOWLEDGED], ["POST", "GET", "POST"])


def test_an_answer_without_a_place_is_read_back(outgoing: Outgoing) -> None:
    assert asked(outgoing, httpx.Response(200, text="ok"), FOUND) == ([ACKNOWLEDGED], ["POST", "GET"])
    (delivery,), _ = asked(outgoing, httpx.Response(202), NONE)
    assert (delivery.status, delivery.reason) == ("failed", "the server answered 202, yet does not have it")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "120"}, timedelta(minutes=2)),
        (
            {"Retry-After": "Tue, 02 Jul 2024 06:10:00 GMT", "Date": "Tue, 02 Jul 2024 06:00:00 GMT"},
            timedelta(minutes=10),
        ),
    ],
)
def test_a_long_wait_is_left_to_the_outbox_and_the_rest_is_put_off_untried(
    outgoing: Outgoing, headers: dict[str, str], wait: timedelta
) -> None:
    deliveries, methods = asked(outgoing, httpx.Response(429, headers=headers), count=3)
    put_off = Delivery(status="failed", reason="the server answers 429", retry_after=wait, is_target_down=True)
    assert deliveries == [put_off, *[replace(put_off, is_untried=True)] * 2]
    assert methods == ["POST"]


def test_a_server_that_cannot_be_reached_is_tried_three_times_for_the_first_one_only(outgoing: Outgoing) -> None:
    lost = httpx.ConnectError("refused")
    deliveries, methods = asked(outgoing, lost, lost, lost, count=2)
    assert methods == ["POST", "GET", "GET"]
    assert [each.reason for each in deliveries] == ["the server cannot be reached: ConnectError"] * 2


def test_a_500_puts_off_this_one_alone(outgoing: Outgoing) -> None:
    broken = httpx.Response(500, headers={"Retry-After": "soon"})
    deliveries, _ = asked(outgoing, broken, broken, broken, CREATED, count=2)
    assert [each.status for each in deliveries] == ["failed", "acknowledged"]


@pytest.mark.parametrize("status", [302, 307, 401, 403, 404, 407, 410, 415])
def test_a_wrong_address_or_token_gives_nothing_up(outgoing: Outgoing, status: int) -> None:
    (delivery,), _ = asked(outgoing, httpx.Response(status))
    assert (delivery.status, delivery.is_target_down) == ("failed", True)


def test_a_refusal_is_final_and_keeps_only_codes(outgoing: Outgoing) -> None:
    complaint = {"issue": [{"code": "invariant", "diagnostics": "patient Example"}]}
    (delivery,), _ = asked(outgoing, httpx.Response(422, json=complaint))
    assert delivery == Delivery(status="dead", reason="refused with 422 (invariant)")
    (delivery,), _ = asked(outgoing, httpx.Response(413, json=[]))
    assert delivery == Delivery(status="dead", reason="refused with 413")


def test_a_bare_refusal_may_be_a_proxys_and_is_tried_again(outgoing: Outgoing) -> None:
    (delivery,), _ = asked(outgoing, httpx.Response(400, text="<html>Bad Request</html>"))
    assert delivery == Delivery(status="failed", reason="refused with 400, without a reason in FHIR")


@pytest.mark.parametrize("status", [408, 423, 425, 429, 501, 502, 505, 507, 508, 511, 520, 524, 599])
def test_a_server_that_is_not_well_gives_nothing_up(outgoing: Outgoing, status: int) -> None:
    busy = httpx.Response(status, headers={"Retry-After": "60"})
    (delivery,), methods = asked(outgoing, busy)
    assert (delivery.status, delivery.is_target_down) == ("failed", True)
    assert (delivery.reason, delivery.retry_after) == (f"the server answers {status}", timedelta(minutes=1))
    assert methods == ["POST"]


@pytest.mark.parametrize("text", ["99999999999999999999", "Tue, 02 Jul 2999 06:10:00 GMT"])
def test_nobody_can_make_us_wait_longer_than_a_day(outgoing: Outgoing, text: str) -> None:
    headers = {"Retry-After": text, "Date": "Tue, 02 Jul 2024 06:00:00 GMT"}
    (delivery,), _ = asked(outgoing, httpx.Response(503, headers=headers))
    assert delivery.retry_after == timedelta(days=1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("may_be_there", [False, True])
def test_a_redirect_is_not_followed_and_says_what_to_set(outgoing: Outgoing, status: int, may_be_there: bool) -> None:
    away = httpx.Response(status, headers={"Location": "https://elsewhere.test/RiskAssessment/9"})
    (delivery,), methods = asked(replace(outgoing, may_be_there=may_be_there), away)
    assert (delivery.status, delivery.is_target_down) == ("failed", True)
    assert "ROUNDS_FHIR_BASE_URL" in str(delivery.reason)
    assert methods == ["GET" if may_be_there else "POST"]


def test_the_opened_connection_carries_the_token_nowhere_else(outgoing: Outgoing) -> None:
    with open_fhir_target("https://ehr.test/fhir", "token") as target:
        assert target.client.headers["Authorization"] == "Bearer token"
        assert not target.client.follow_redirects


# --- what a search tells ---


def test_a_remark_of_the_search_is_no_score_of_ours(outgoing: Outgoing) -> None:
    again = replace(outgoing, may_be_there=True)
    nameless = {"resourceType": "OperationOutcome", "issue": []}
    for remark in (REMARK, nameless):
        assert asked(again, searchset(remark, mode="outcome"), CREATED) == ([ACKNOWLEDGED], ["GET", "POST"])
        assert asked(again, searchset(remark), CREATED) == ([ACKNOWLEDGED], ["GET", "POST"])
    one_and_remark = httpx.Response(
        200,
        json={
            "resourceType": "Bundle",
            "entry": [{"resource": OURS}, {"resource": REMARK, "search": {"mode": "outcome"}}],
        },
    )
    assert asked(again, one_and_remark) == ([ACKNOWLEDGED], ["GET"])


def test_a_server_that_returns_all_it_has_is_not_believed_to_have_ours(outgoing: Outgoing) -> None:
    again = replace(outgoing, may_be_there=True)
    assert asked(again, searchset(ANOTHER, ANOTHER), CREATED) == ([ACKNOWLEDGED], ["GET", "POST"])
    assert asked(again, searchset(ANOTHER, OURS)) == ([ACKNOWLEDGED], ["GET"])
    assert asked(again, searchset(OURS, OURS)) == ([ACKNOWLEDGED], ["GET"])


@pytest.mark.parametrize(
    "answer",
    [
        LOGIN_PAGE,
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]}),
        httpx.Response(200, json={"resourceType": "Bundle", "entry": 7}),
        httpx.Response(200, json={"resourceType": "Bundle", "entry": ["x"]}),
        httpx.Response(200, json={"resourceType": "Bundle", "entry": [{"resource": OURS | {"id": 9}}]}),
        httpx.Response(200, json={"resourceType": "Bundle", "entry": [{"resource": OURS | {"id": "a b"}}]}),
        httpx.Response(200, text="[" * 100_000),
    ],
)
def test_an_answer_that_cannot_be_read_puts_it_off(outgoing: Outgoing, answer: httpx.Response) -> None:
    (delivery, other), methods = asked(replace(outgoing, may_be_there=True), answer, count=2)
    assert (delivery.status, delivery.is_target_down) == ("failed", True)
    assert "is there a login page or a proxy in between?" in str(delivery.reason)
    assert other == replace(delivery, is_untried=True)
    assert methods == ["GET"]


def test_a_login_page_in_place_of_a_create_is_no_acknowledgement(outgoing: Outgoing) -> None:
    (delivery,), methods = asked(outgoing, LOGIN_PAGE, LOGIN_PAGE)
    assert (delivery.status, delivery.is_target_down) == ("failed", True)
    assert methods == ["POST", "GET"]


def test_a_garbled_answer_puts_it_off(outgoing: Outgoing) -> None:
    (delivery,), _ = asked(outgoing, httpx.DecodingError("bad gzip of patient Example"))
    assert delivery == Delivery(status="failed", reason="the server's answer is garbled", is_target_down=True)


# --- what a create tells ---


@pytest.mark.parametrize("status", [200, 201])
def test_a_new_one_and_one_that_was_there_are_acknowledged_alike(outgoing: Outgoing, status: int) -> None:
    for place in ("RiskAssessment/9", "/fhir/RiskAssessment/9/_history/2", "https://ehr.test/fhir/RiskAssessment/9"):
        assert asked(outgoing, httpx.Response(status, headers={"Location": place})) == ([ACKNOWLEDGED], ["POST"])
    assert asked(outgoing, httpx.Response(status, json=OURS)) == ([ACKNOWLEDGED], ["POST"])


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(412),
        httpx.Response(409),
        httpx.Response(202, headers={"Location": "RiskAssessment/9"}),
        httpx.Response(204),
        httpx.Response(200, headers={"Location": "https://ehr.test/login?next=/fhir/RiskAssessment/9"}),
        httpx.Response(200, headers={"Location": "https://[ehr/RiskAssessment/9"}),
        httpx.Response(201, headers={"Location": "https://ehr.test/fhir/RiskAssessment/"}),
        httpx.Response(200, json=ANOTHER),
        httpx.Response(200, json={"id": "9"}),
        httpx.Response(200, json=OURS | {"id": None}),
        httpx.Response(
            200,
            headers={"Location": "RiskAssessment/9"},
            json={"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]},
        ),
    ],
)
def test_an_answer_that_proves_nothing_is_read_back(outgoing: Outgoing, answer: httpx.Response) -> None:
    assert asked(outgoing, answer, FOUND) == ([ACKNOWLEDGED], ["POST", "GET"])
    (delivery,), _ = asked(outgoing, answer, NONE)
    assert delivery.status == "failed"
    assert not delivery.is_target_down
    assert "yet does not have it" in str(delivery.reason)


def test_a_reason_holds_no_word_of_the_server_in_place_of_a_code(outgoing: Outgoing) -> None:
    complaint = {"issue": [{"code": "Patient Example"}, "x", {"code": "invalid"}]}
    (delivery,), _ = asked(outgoing, httpx.Response(422, json=complaint))
    assert delivery == Delivery(status="dead", reason="refused with 422 (unknown, invalid)")


# --- one that may not go out any more ---


def test_one_that_may_not_go_out_any_more_is_looked_for_and_never_created(outgoing: Outgoing) -> None:
    late = replace(outgoing, may_be_there=True, void_because="older than 72 h")
    assert asked(late, FOUND) == ([ACKNOWLEDGED], ["GET"])
    assert asked(late, NONE) == ([Delivery(status="void", reason="older than 72 h")], ["GET"])
    (delivery,), methods = asked(late, httpx.ReadError("cut"), httpx.Response(503), LOGIN_PAGE)
    assert (delivery.status, methods) == ("failed", ["GET"] * 3)
    (delivery,), methods = asked(late, httpx.Response(400))
    assert delivery.status == "failed"
    assert delivery.reason == "older than 72 h, and the server does not say whether it has it"
    assert methods == ["GET"]


def test_a_token_does_not_travel_in_the_clear(outgoing: Outgoing) -> None:
    with pytest.raises(WrongUsage, match="unencrypted"), open_fhir_target("http://ehr.test/fhir", "token"):
        pass
    with pytest.raises(WrongUsage, match="ROUNDS_FHIR_BASE_URL"), open_fhir_target(""):
        pass


# --- the circuit breaker, shared with whoever else speaks with this server ---


def test_write_back_opens_the_circuit_for_all_and_then_asks_nobody(outgoing: Outgoing, sqlite_records: Records) -> None:
    now = datetime(2024, 7, 1, tzinfo=UTC)
    breaker = Breaker.of("https://ehr.test/fhir", sqlite_records, lambda: now)
    methods: list[str] = []

    def down(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        raise httpx.ConnectError("down")

    with httpx.Client(base_url="https://ehr.test/fhir/", transport=httpx.MockTransport(down)) as client:
        target = FhirTarget(client=client, breaker=breaker, first_wait=MOMENT)
        first, second, third = (next(target.send([outgoing])) for _ in range(3))
    assert len(methods) == MOST_FAILURES  # three tries, two more, and then the circuit is open
    assert all(each.is_target_down for each in (first, second, third))
    assert third.is_untried
    assert third.retry_after == FIRST_OPEN
    with pytest.raises(NotNow):
        Breaker.of("https://ehr.test/fhir", sqlite_records, lambda: now).check()


def test_a_resource_that_the_server_chokes_on_opens_no_circuit(outgoing: Outgoing, sqlite_records: Records) -> None:
    breaker = Breaker.of("https://ehr.test/fhir", sqlite_records, lambda: datetime(2024, 7, 1, tzinfo=UTC))
    choke = httpx.MockTransport(lambda _request: httpx.Response(500))
    with httpx.Client(base_url="https://ehr.test/fhir/", transport=choke) as client:
        for _ in range(MOST_FAILURES):
            next(FhirTarget(client=client, breaker=breaker, first_wait=MOMENT).send([outgoing]))
    breaker.check()
