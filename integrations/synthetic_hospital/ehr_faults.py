"""What a real server does on a bad day, for the synthetic hospital's to do when it is asked to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["metadata", "discovery", "token", "kick_off", "status", "file", "page", "history", "delete"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One bad answer.

    refuse: `status` with `retry_after` seconds. cut: the connection breaks after `at` bytes of the body. short: the
    body ends after `at` bytes as if that were all. garbage: a login page with a 200. restart: jobs, tokens and links
    are forgotten, then 503. expire_links, expire_tokens: those given out so far are worth nothing. repeat: the page
    before. redirect: `status` and the address `to`.
    """

    what: Literal["refuse", "cut", "short", "garbage", "restart", "expire_links", "expire_tokens", "repeat", "redirect"]
    status: int = 503
    retry_after: int | None = None
    at: int = 0
    to: str = ""


Faults = Callable[[Kind, int], Fault | None]  # the kind of a request and its number among its kind, from 0


def no_faults(_kind: Kind, _number: int) -> Fault | None:
    """A good day."""
    return None
