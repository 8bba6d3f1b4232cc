"""SMART Backend Services: which keys sign, what the signed word says, and when a token is asked for again."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from integrations.errors import EnvironmentFault, Refused, WrongUsage
from integrations.synthetic_hospital.ehr_tokens import TokenDesk
from integrations.web.ask import Answer
from integrations.web.endpoint import Endpoint
from integrations.web.smart import Tokens, algorithm, load_key, public_keys

TOKEN_URL = "https://ehr.example.org/token"
Make = Callable[[Path], None]


def endpoint(**more: Any) -> Endpoint:
    return Endpoint(
        **{"base_url": "https://ehr.example.org/fhir", "client_id": "rounds", "token_url": TOKEN_URL} | more
    )


def rsa(path: Path, size: int = 2048) -> None:
    path.write_bytes(RSAKey.generate_key(size).as_pem(private=True))


def ec(path: Path, curve: str = "P-384", private: bool = True) -> None:
    path.write_bytes(ECKey.generate_key(curve).as_pem(private=private))  # type: ignore[arg-type]


def jwk(path: Path) -> None:
    path.write_text(json.dumps(ECKey.generate_key("P-384", {"kid": "ours"}).as_dict(private=True)))


class Desk:
    """A server that gives tokens, and keeps the words that it was shown."""

    def __init__(self, keys: dict[str, Any], life_s: int = 300) -> None:
        self.desk = TokenDesk("rounds", keys, life_s)
        self.words: list[str] = []
        self.asked = 0

    def __call__(self, method: str, url: httpx.URL, **sent: Any) -> Answer:
        self.asked += 1
        self.words.append(sent["data"]["client_assertion"])
        status, said = self.desk.give(sent["data"], TOKEN_URL)
        return Answer(status, httpx.Headers(), orjson.dumps(said))


@pytest.mark.parametrize(("make", "alg"), [(rsa, "RS384"), (ec, "ES384"), (jwk, "ES384")])
def test_the_server_takes_a_word_signed_by_either_kind_of_key(tmp_path: Path, make: Make, alg: str) -> None:
    make(tmp_path / "key")
    ours = endpoint(private_key_file=tmp_path / "key")
    key = load_key(ours, tmp_path / "own")
    desk = Desk(public_keys(key))
    assert Tokens(ours, key, desk).current()
    assert algorithm(key) == alg
    assert public_keys(key)["keys"][0]["alg"] == alg
    assert not (tmp_path / "own").exists()


def test_a_word_lives_five_minutes_at_most_is_for_the_token_address_and_is_never_used_twice(tmp_path: Path) -> None:
    ours = endpoint(jwks_url="https://rounds.example.org/jwks.json")
    key = load_key(ours, tmp_path / "own")
    desk = Desk(public_keys(key), life_s=0)
    tokens = Tokens(ours, key, desk)
    tokens.current()
    tokens.current()
    first, second = (jwt.decode(word, KeySet.import_key_set(public_keys(key)), ["ES384"]) for word in desk.words)  # type: ignore[arg-type]
    assert first.claims["jti"] != second.claims["jti"]
    assert 0 < first.claims["exp"] - time.time() <= 300
    assert (first.claims["iss"], first.claims["sub"], first.claims["aud"]) == ("rounds", "rounds", TOKEN_URL)
    assert first.header["kid"] == key.kid
    assert first.header["jku"] == "https://rounds.example.org/jwks.json"


def test_a_word_that_was_shown_before_is_refused(tmp_path: Path) -> None:
    ours = endpoint()
    key = load_key(ours, tmp_path / "own")
    desk = Desk(public_keys(key))
    Tokens(ours, key, desk).current()
    form = {"grant_type": "client_credentials", "scope": "system/*.read", "client_assertion": desk.words[0]}
    assert desk.desk.give(form, TOKEN_URL)[0] == 400
    assert desk.desk.refusals == ["kid or jti"]


def test_a_token_is_kept_until_shortly_before_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("integrations.web.smart.time.monotonic", lambda: now)
    ours = endpoint()
    key = load_key(ours, tmp_path / "own")
    desk = Desk(public_keys(key))
    tokens = Tokens(ours, key, desk)
    first = tokens.current()
    now += 269
    assert tokens.current() == first
    now += 2
    assert tokens.current() != first
    assert desk.asked == 2


def test_a_token_that_another_thread_has_renewed_is_not_thrown_away(tmp_path: Path) -> None:
    ours = endpoint()
    key = load_key(ours, tmp_path / "own")
    desk = Desk(public_keys(key))
    tokens = Tokens(ours, key, desk)
    old = tokens.current()
    tokens.is_refused(old)
    new = tokens.current()
    tokens.is_refused(old)
    assert tokens.current() == new
    assert desk.asked == 2


def test_a_key_that_is_not_registered_is_refused_with_what_to_do(tmp_path: Path) -> None:
    ours = endpoint()
    other = ECKey.generate_key("P-384")
    other.ensure_kid()
    with pytest.raises(Refused, match=r"gives us no token: 400 \(invalid_client\)[\s\S]*rounds source jwks"):
        Tokens(ours, load_key(ours, tmp_path / "own"), Desk(public_keys(other))).current()


@pytest.mark.filterwarnings("ignore:Key size should be")  # which the library says of the weak one
@pytest.mark.parametrize(
    "make",
    [
        lambda path: rsa(path, 1024),
        lambda path: ec(path, "P-256"),
        lambda path: ec(path, private=False),
        lambda path: path.write_text("no key"),
        lambda path: path.write_text("{"),
        lambda path: path.write_text('{"kty": "oct", "k": "c2VjcmV0"}'),
        lambda path: None,
    ],
)
def test_a_weak_or_public_or_broken_key_is_refused_without_its_text(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "key")
    with pytest.raises(EnvironmentFault, match="our private key cannot be used") as told:
        load_key(endpoint(private_key_file=tmp_path / "key"), tmp_path / "own")
    assert "c2VjcmV0" not in str(told.value)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b'{"access_token": 7, "token_type": "bearer"}'])
def test_an_answer_that_is_no_token_is_none(tmp_path: Path, body: bytes) -> None:
    ours = endpoint()
    with pytest.raises(Refused, match="gives us no token: 200"):
        Tokens(ours, load_key(ours, tmp_path / "own"), lambda *_, **__: Answer(200, httpx.Headers(), body)).current()


def test_a_server_that_names_no_token_address_says_what_to_set(tmp_path: Path) -> None:
    ours = endpoint(token_url="")
    with pytest.raises(WrongUsage, match="set token_url"):
        Tokens(ours, load_key(ours, tmp_path / "own"), lambda *_, **__: Answer(404, httpx.Headers(), b"")).current()
