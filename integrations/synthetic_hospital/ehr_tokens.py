"""Who may ask the synthetic hospital's FHIR server: SMART Backend Services, checked to the letter."""

import secrets
import time
from typing import Any, cast

LONGEST_LIFE_S = 300
ALGORITHMS = ["RS384", "ES384"]


class TokenDesk:
    """Gives tokens for signed words. Without keys of a client nobody needs one."""

    def __init__(self, client_id: str, jwks: dict[str, Any] | None, life_s: int) -> None:
        self.client_id, self.jwks, self.life_s = client_id, jwks, life_s
        self._ends: dict[str, float] = {}
        self._used: set[str] = set()
        self.refusals: list[str] = []
        self.given: list[str] = []

    def forget(self) -> None:
        """Make every token worth nothing."""
        self._ends.clear()

    def is_good(self, header: str | None) -> bool:
        """Whether an Authorization header holds a token that is still good."""
        if self.jwks is None:
            return True
        return time.monotonic() < self._ends.get((header or "").removeprefix("Bearer "), 0.0)

    def give(self, form: dict[str, str], own_address: str) -> tuple[int, dict[str, Any]]:
        """Answer a token request: status and body."""
        if why := self._speaks_against(form, own_address):
            self.refusals.append(why)
            return 400, {"error": "invalid_client"}
        token = secrets.token_urlsafe(24)
        self.given.append(token)
        self._ends[token] = time.monotonic() + self.life_s
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": self.life_s, "scope": form["scope"]}

    def _speaks_against(self, form: dict[str, str], own_address: str) -> str:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        if form.get("grant_type") != "client_credentials" or not form.get("scope", "").startswith("system/"):
            return "grant or scope"
        try:
            word = jwt.decode(
                form["client_assertion"], KeySet.import_key_set(cast(Any, self.jwks)), algorithms=ALGORITHMS
            )
        except (JoseError, KeyError, ValueError) as error:
            return type(error).__name__
        claims, now = word.claims, time.time()
        if claims.get("iss") != self.client_id or claims.get("sub") != self.client_id:
            return "iss or sub"
        if claims.get("aud") != own_address:
            return "aud"
        if not now < float(claims.get("exp", 0)) <= now + LONGEST_LIFE_S + 1:
            return "exp"
        if "kid" not in word.header or not claims.get("jti") or claims["jti"] in self._used:
            return "kid or jti"
        self._used.add(claims["jti"])
        return ""
