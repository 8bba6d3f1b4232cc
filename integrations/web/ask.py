"""One server, asked with patience: secrets only for its own origin, busy answers tried again, bodies bounded."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import httpx
import orjson
import stamina

from integrations.errors import EnvironmentFault, Refused
from integrations.web.breaker import Breaker
from integrations.web.origin import is_same_origin, origin
from integrations.web.patience import NotNow, Patience, is_busy, retry_after
from integrations.web.smart import Tokens

LARGEST_BODY = 64 << 20  # of an answer that is read at once; files are streamed
FHIR_JSON = "application/fhir+json"
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a server said, whole."""

    status: int
    headers: httpx.Headers
    content: bytes

    def json(self) -> dict[str, Any]:
        """The JSON object in the body; empty when it is something else: a login page, perhaps."""
        try:
            body = orjson.loads(self.content)
        except orjson.JSONDecodeError:
            return {}
        return body if isinstance(body, dict) else {}

    @property
    def issues(self) -> str:
        """The codes of an OperationOutcome, in brackets; its words could hold a value of a patient."""
        codes = [each.get("code") for each in objects(self.json().get("issue"))]
        known = [
            code for code in codes if isinstance(code, str) and code.replace("-", "").isalpha() and len(code) <= 40
        ]
        return f" ({', '.join(known)})" if known else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """The JSON objects of a list; none when it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


class Server:
    """One endpoint. Thread-safe, as its client is. authorization: the same word with each request, where it has one."""

    def __init__(
        self,
        client: httpx.Client,
        base: httpx.URL,
        *,
        make_tokens: "Callable[[Callable[..., Answer]], Tokens] | None" = None,
        authorization: str = "",
        breaker_of: Callable[[httpx.URL], Breaker] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.client, self.base, self.breaker_of, self.patience = client, base, breaker_of, patience or Patience()
        self.authorization = authorization
        self.tokens = make_tokens(self._ask_without_token) if make_tokens else None

    def ask(self, method: str, url: httpx.URL, *, largest_body: int = LARGEST_BODY, **sent: Any) -> Answer:
        """Ask until there is an answer that stands: any but a busy one.

        Raises EnvironmentFault when the server stays busy or away, Refused when the answer is a redirect, is longer
        than `largest_body`, or the token would have to go to another origin.
        """
        return self.patiently(lambda: self.once(method, url, largest_body, **sent))

    def patiently(self, once: Callable[[], T]) -> T:
        """Do it until it passes, or patience is at its end. Raises EnvironmentFault then."""
        patience = self.patience
        again = stamina.RetryingCaller(
            attempts=patience.tries,
            timeout=None,
            wait_initial=patience.first_wait,
            wait_max=patience.longest_wait,
            wait_jitter=patience.first_wait,
        )
        try:
            return again(self._wait, once)
        except (NotNow, httpx.RequestError) as error:
            reason = error.reason if isinstance(error, NotNow) else f"it cannot be reached: {type(error).__name__}"
            raise EnvironmentFault(
                f"the server is not there for us: {reason}",
                where=origin(self.base),
                to_do="run the command again later: it goes on from where it was",
            ) from None

    @contextmanager
    def stream(
        self, method: str, url: httpx.URL, *, with_token: bool, headers: Mapping[str, str] | None = None, **sent: Any
    ) -> Iterator[httpx.Response]:
        """Open one answer, not yet read. Raises NotNow when it is a busy one, Refused when it points elsewhere."""
        token = self._token_for(url) if with_token else ""
        given = {"Accept": FHIR_JSON, **(headers or {})}
        with self._sent(method, url, {**given, **self._named(token, with_token)}, sent) as response:
            if response.status_code != 401 or not token or not self.tokens:
                yield response
                return
        self.tokens.is_refused(token)
        with self._sent(method, url, {**given, **self._named(self.tokens.current(), with_token)}, sent) as response:
            yield response

    def _named(self, token: str, with_token: bool) -> dict[str, str]:
        """The header that says who we are."""
        word = f"Bearer {token}" if token else self.authorization if with_token else ""
        return {"Authorization": word} if word else {}

    @contextmanager
    def _sent(
        self, method: str, url: httpx.URL, headers: dict[str, str], sent: dict[str, Any]
    ) -> Iterator[httpx.Response]:
        breaker = self.breaker_of(url) if self.breaker_of else None
        if breaker:
            breaker.check()
        try:
            with self.client.stream(method, url, headers=headers, **sent) as response:
                self._judge(response, breaker)
                yield response
        except httpx.TransportError:
            if breaker:
                breaker.failed()
            raise

    def _judge(self, response: httpx.Response, breaker: Breaker | None) -> None:
        """Raise NotNow for a busy answer, Refused for one that points elsewhere; tell the breaker what it means."""
        if breaker and response.status_code > 500:  # a 500 may be this one request's own fault
            breaker.failed()
        elif breaker:
            breaker.succeeded()
        if is_busy(response.status_code):
            raise NotNow(f"it answers {response.status_code}", retry_after=retry_after(response.headers))
        if response.is_redirect:
            raise Refused(
                f"the server answers {response.status_code} and points elsewhere, where we do not go",
                where=origin(response.url),
                to_do="let base_url be the address itself",
            )

    def once(
        self, method: str, url: httpx.URL, largest_body: int = LARGEST_BODY, *, with_token: bool = True, **sent: Any
    ) -> Answer:
        """Ask once. Raises NotNow and httpx.TransportError, which `patiently` waits for."""
        with self.stream(method, url, with_token=with_token, **sent) as response:
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                if len(content) > largest_body:
                    raise Refused(
                        f"the server's answer is longer than {largest_body:,} bytes",
                        where=origin(url),
                        to_do="ask for less at a time, or raise the limits in the contract",
                    )
            return Answer(response.status_code, response.headers, bytes(content))

    def _ask_without_token(self, method: str, url: httpx.URL, **sent: Any) -> Answer:
        return self.once(method, url, 1 << 20, with_token=False, **sent)

    def _token_for(self, url: httpx.URL) -> str:
        if self.tokens is None and not self.authorization:
            return ""
        if not is_same_origin(url, self.base):
            raise Refused(
                "our token would have to go to another server than the endpoint's",
                where=origin(url),
                to_do="ask the server's keeper for files at its own address, or for links that need no token",
            )
        return self.tokens.current() if self.tokens else ""

    def _wait(self, error: Exception) -> bool | timedelta:
        """Whether, or after how long, to try again."""
        if isinstance(error, NotNow):
            return error.retry_after <= self.patience.longest_retry_after and (error.retry_after or True)
        return isinstance(error, httpx.RequestError) and not isinstance(error, httpx.UnsupportedProtocol)
