"""The resources in a Bundle as they were written: the text of each, cut out of the page, on one line.

Reading a page into numbers and writing it again would lose the digits of a decimal (1.50).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_DECODER = json.JSONDecoder()
_BLANK = " \t\r\n"


class NoBundle(Exception):
    """The page is no Bundle that can be read."""


@dataclass(frozen=True)
class Entry:
    """One entry: the resource as text, and what is to be known of it and of the request that it tells of."""

    text: str
    kind: str
    mode: str
    method: str
    request_url: str


@dataclass(frozen=True)
class Page:
    """One page of a search or a history. `next_url` is empty on the last one; `total` is null where none is said."""

    entries: tuple[Entry, ...]
    next_url: str
    total: int | None


def read_page(content: bytes) -> Page:
    """Read one page. Raises NoBundle."""
    try:
        text = content.decode("utf-8-sig")
        places = dict(_members(text, _skip(text, 0)))
        bundle = {name: _DECODER.raw_decode(text, start)[0] for name, (start, _) in places.items() if name != "entry"}
        if bundle.get("resourceType") != "Bundle":
            raise NoBundle
        entries = tuple(_entries(text, places["entry"][0])) if "entry" in places else ()
        links = {each["relation"]: each["url"] for each in bundle.get("link", ())}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise NoBundle from None
    total = bundle.get("total")
    return Page(entries, str(links.get("next", "")), total if type(total) is int else None)


def _entries(text: str, start: int) -> Iterator[Entry]:
    for place in _items(text, start):
        parts = dict(_members(text, place))
        value = {name: _DECODER.raw_decode(text, begins)[0] for name, (begins, _) in parts.items()}
        resource, request = value.get("resource", {}), value.get("request", {})
        begins, ends = parts.get("resource", (0, 0))
        yield Entry(
            text=text[begins:ends].replace("\r", " ").replace("\n", " "),
            kind=str(resource.get("resourceType", "")),
            mode=str(value.get("search", {}).get("mode", "")),
            method=str(request.get("method", "")),
            request_url=str(request.get("url", "")),
        )


def _members(text: str, start: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each name of an object and where its value begins and ends."""
    place = _skip(text, _expect(text, start, "{"))
    while text[place] != "}":
        _expect(text, place, '"')
        name, place = _DECODER.raw_decode(text, place)
        begins = _skip(text, _expect(text, _skip(text, place), ":"))
        _, ends = _DECODER.raw_decode(text, begins)
        yield name, (begins, ends)
        place = _after_comma(text, ends, "}")


def _items(text: str, start: int) -> Iterator[int]:
    """Yield where each item of an array begins."""
    place = _skip(text, _expect(text, start, "["))
    while text[place] != "]":
        yield place
        _, ends = _DECODER.raw_decode(text, place)
        place = _after_comma(text, ends, "]")


def _after_comma(text: str, place: int, closing: str) -> int:
    place = _skip(text, place)
    return place if text[place] == closing else _skip(text, _expect(text, place, ","))


def _expect(text: str, place: int, sign: str) -> int:
    if text[place] != sign:
        raise ValueError(sign)
    return place + 1


def _skip(text: str, place: int) -> int:
    while text[place] in _BLANK:
        place += 1
    return place


def deletion(request_url: str) -> dict[str, Any]:
    """The line by which a bulk export tells of one deletion."""
    request = {"method": "DELETE", "url": request_url}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": request}]}
