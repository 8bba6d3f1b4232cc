"""SMART Backend Services: a token for our signed word, renewed before it ends.

The signed word (private_key_jwt) is RS384 or ES384 by the kind of the key, lives 5 minutes at most, and has an id of
its own each time. It goes to the token address alone.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from integrations.durable import write_whole
from integrations.errors import EnvironmentFault, Refused, WrongUsage
from integrations.web.endpoint import Endpoint, is_word, safe_address
from integrations.web.origin import origin, resolved

if TYPE_CHECKING:
    from collections.abc import Callable

    from joserfc.jwk import ECKey, KeyParameters, RSAKey

    from integrations.web.ask import Answer

LIFE_S = 300  # of a signed word
MARGIN_S = 30  # so long before its end a token is renewed
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Tokens:
    """The token of one endpoint, shared by all threads that ask it. `ask` sends a request without a token."""

    endpoint: Endpoint
    key: "RSAKey | ECKey"
    ask: "Callable[..., Answer]"
    _lock: Lock = field(default_factory=Lock)
    _token: str = ""
    _ends: float = 0.0  # monotonic seconds

    def current(self) -> str:
        """Return a token that is good for a while. Raises Refused when the server gives none."""
        with self._lock:
            if not self._token or time.monotonic() >= self._ends:
                self._renew()
            return self._token

    def is_refused(self, token: str) -> None:
        """Forget a token that the server would not have any more, unless another thread has a newer one by now."""
        with self._lock:
            if token == self._token:
                self._token = ""

    def _renew(self) -> None:
        address = self._token_address()
        answer = self.ask(
            "POST",
            address,
            data={
                "grant_type": "client_credentials",
                "scope": self.endpoint.scope,
                "client_assertion_type": ASSERTION,
                "client_assertion": self._signed(str(address)),
            },
        )
        said = answer.json()
        token, life = said.get("access_token"), said.get("expires_in", LIFE_S)
        if answer.status != 200 or not is_word(token) or str(said.get("token_type", "")).lower() != "bearer":
            raise Refused(
                f"the server gives us no token: {answer.status}{_error_code(said)}",
                where=origin(address),
                to_do="check client_id, scope and key of the endpoint; `rounds source jwks` shows the key to register",
            )
        seconds = float(life) if isinstance(life, int | float) else LIFE_S
        self._token, self._ends = str(token), time.monotonic() + max(seconds - MARGIN_S, seconds / 2)

    def _signed(self, audience: str) -> str:
        from authlib.oauth2.rfc7523 import private_key_jwt_sign

        header = {"kid": self.key.kid, "typ": "JWT"}
        if self.endpoint.jwks_url:
            header["jku"] = self.endpoint.jwks_url
        word: str = private_key_jwt_sign(
            self.key, self.endpoint.client_id, audience, alg=algorithm(self.key), header=header, expires_in=LIFE_S
        )
        return word

    def _token_address(self) -> httpx.URL:
        """The address in settings, else the one that the server itself names."""
        base = safe_address(self.endpoint.base_url, has_secret=True)
        if self.endpoint.token_url:
            return httpx.URL(self.endpoint.token_url)
        answer = self.ask("GET", base.join(".well-known/smart-configuration"))
        named = answer.json().get("token_endpoint")
        if answer.status != 200 or not isinstance(named, str):
            raise WrongUsage(
                "the server does not say where it gives tokens",
                where=origin(base),
                to_do="set token_url of the endpoint",
            )
        return resolved(base, named)


def _error_code(said: dict[str, Any]) -> str:
    """The server's code of what is wrong; its words could hold anything."""
    code = said.get("error")
    is_code = isinstance(code, str) and code.replace("_", "").isalpha() and len(code) <= 40
    return f" ({code})" if is_code else ""


def algorithm(key: "RSAKey | ECKey") -> str:
    """RS384 or ES384, the two that every server must take."""
    return "RS384" if key.key_type == "RSA" else "ES384"


def load_key(endpoint: Endpoint, own_file: Path) -> "RSAKey | ECKey":
    """Read our private key, or make one in `own_file` (0600). Raises EnvironmentFault when it cannot be used."""
    from joserfc.jwk import ECKey

    path = endpoint.private_key_file or own_file
    if path == own_file and not path.exists():
        made = ECKey.generate_key("P-384")
        write_whole(path, orjson.dumps(made.as_dict(private=True)))
    try:
        raw = path.read_bytes()
        value = orjson.loads(raw) if raw.lstrip().startswith(b"{") else raw
        key = _imported(value, {"kid": endpoint.key_id} if endpoint.key_id else {})
        _check_use(key)
    except (OSError, ValueError) as error:
        raise EnvironmentFault(
            f"our private key cannot be used: {type(error).__name__}",
            where=str(path),
            to_do="give a private key as PEM or JWK: RSA of at least 2048 bits, or EC P-384",
        ) from None
    key.ensure_kid()
    return key


def _imported(value: "bytes | dict[str, Any]", named: "KeyParameters") -> "RSAKey | ECKey":
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    try:
        return ECKey.import_key(value, named)
    except (JoseError, ValueError, TypeError, KeyError):
        pass
    try:
        return RSAKey.import_key(value, named)
    except (JoseError, TypeError, KeyError):
        raise ValueError("neither an EC nor an RSA key") from None


def _check_use(key: "RSAKey | ECKey") -> None:
    is_fit = key.raw_value.key_size >= 2048 if key.key_type == "RSA" else key.curve_name == "P-384"  # type: ignore[union-attr]
    if not key.is_private or not is_fit:
        raise ValueError("no private key, or a weak one")


def public_keys(key: "RSAKey | ECKey") -> dict[str, Any]:
    """The JWKS by which the server knows our signature: public, to be registered there."""
    return {"keys": [{**key.as_dict(private=False), "use": "sig", "alg": algorithm(key), "kid": key.kid}]}
