"""What may become of a resource on its way: one element is not what it should be, or the bytes of its line are not.

Each kind of mutation is a function of a generator of random numbers and a valid resource (or its line) to bytes.
"""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any

Resource = dict[str, Any]
Place = tuple[Any, Any]  # a dict or list, and a key or number in it
RAW_NUMBER, SECOND = "a number as text", " (again)"
NUMBERS = ("1e999", "-1e999", "9" * 400, "-0.0", "1e308", "123456789012345678901234567890", "1E-400")
ODD = ("\ud800", "a\udfffb", "\x00", "\x1f", "\u202e", "\ufeff", "\U0001f600", "e\u0301", "\u2028")
OTHER_TYPES: tuple[Any, ...] = (5, 1.5, True, "text", [], {}, ["text"], {"a": 1}, [[1]], [{"b": [None]}])
TYPES = ("Patient", "Group", "observation", "Bundle", "")


def places(value: Any) -> Iterator[Place]:
    """Every place of a value in a resource, but that of its id: mutants keep their own."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def _replaced(change: Callable[[Random, Any], Any]) -> Callable[[Random, Resource], bytes]:
    """A mutation that puts something else in one place."""

    def mutate(random: Random, resource: Resource) -> bytes:
        parent, key = random.choice(list(places(resource)))
        parent[key] = change(random, parent[key])
        return line(resource)

    return mutate


def _nested(random: Random, _value: Any) -> Any:
    depth, is_list = random.choice((3, 30, 300)), random.random() < 0.5
    value: Any = 1
    for _ in range(depth):
        value = [value] if is_list else {"extension": value}
    return value


def nested_beyond_the_limit(random: Random, resource: Resource) -> bytes:
    key = random.choice(list(resource))
    head = line({**resource, key: "?"})
    return head.replace(b'"?"', b"[" * 3_000 + b"]" * 3_000)


def dropped(random: Random, resource: Resource) -> bytes:
    parent, key = random.choice(list(places(resource)))
    del parent[key]
    return line(resource)


def renamed(random: Random, resource: Resource) -> bytes:
    parent, key = random.choice([place for place in places(resource) if isinstance(place[0], dict)])
    parent[random.choice((key.upper(), f"{key}x", f"_{key}", ""))] = parent.pop(key)
    return line(resource)


def key_twice(random: Random, resource: Resource) -> bytes:
    """The same name twice, with another value first."""
    parent, key = random.choice([place for place in places(resource) if isinstance(place[0], dict)])
    before = {f"{key}{SECOND}": random.choice(OTHER_TYPES)}
    parent_before = dict(parent)
    parent.clear()
    parent.update(before | parent_before)
    return line(resource).replace(f'{SECOND}"'.encode(), b'"')


def item_twice(random: Random, resource: Resource) -> bytes:
    parent, key = random.choice(list(places(resource)))
    value = parent[key]
    parent[key] = [*value, *value] if isinstance(value, list) else [value, value]
    return line(resource)


def swapped(random: Random, resource: Resource) -> bytes:
    (one, key), (other, other_key) = random.sample(list(places(resource)), 2)
    one[key], other[other_key] = deepcopy(other[other_key]), deepcopy(one[key])
    return line(resource)


def wrong_resource_type(random: Random, resource: Resource) -> bytes:
    return line({**resource, "resourceType": random.choice(TYPES)})


def number(random: Random, resource: Resource) -> bytes:
    parent, key = random.choice(list(places(resource)))
    parent[key] = RAW_NUMBER
    return line(resource).replace(f'"{RAW_NUMBER}"'.encode(), random.choice(NUMBERS).encode())


def line(resource: Resource) -> bytes:
    return json.dumps(resource, separators=(",", ":")).encode()


STRUCTURE: dict[str, Callable[[Random, Resource], bytes]] = {
    "dropped": dropped,
    "renamed": renamed,
    "key twice": key_twice,
    "item twice": item_twice,
    "another type": _replaced(lambda random, _: random.choice(OTHER_TYPES)),
    "null": _replaced(lambda _random, _value: None),
    "empty string": _replaced(lambda _random, _value: ""),
    "empty list": _replaced(lambda _random, _value: []),
    "empty object": _replaced(lambda _random, _value: {}),
    "odd unicode": _replaced(lambda random, _: f"a{random.choice(ODD)}"),
    "long string": _replaced(lambda random, _: "x" * random.choice((1_000, 20_000))),
    "list for one": _replaced(lambda _, value: [value]),
    "object for list": _replaced(lambda _, value: {"0": value}),
    "nested": _replaced(_nested),
    "nested beyond the limit": nested_beyond_the_limit,
    "number": number,
    "swapped": swapped,
    "wrong resource type": wrong_resource_type,
}


def _inserted(pieces: tuple[bytes, ...]) -> Callable[[Random, bytes], bytes]:
    def mutate(random: Random, sent: bytes) -> bytes:
        at = random.randrange(len(sent) + 1)
        return sent[:at] + random.choice(pieces) + sent[at:]

    return mutate


def flipped(random: Random, sent: bytes) -> bytes:
    at = random.randrange(len(sent))
    return sent[:at] + bytes([sent[at] ^ (1 << random.randrange(8))]) + sent[at + 1 :]


def cut_short(random: Random, sent: bytes) -> bytes:
    return sent[: random.randrange(len(sent))]


def cut_out(random: Random, sent: bytes) -> bytes:
    at = random.randrange(len(sent))
    return sent[:at] + sent[at + random.randint(1, 20) :]


BYTES: dict[str, Callable[[Random, bytes], bytes]] = {
    "flipped": flipped,
    "cut short": cut_short,
    "cut out": cut_out,
    "joined": lambda _, sent: sent + sent,
    "byte order mark": lambda _, sent: b"\xef\xbb\xbf" + sent,
    "inserted": _inserted((b"{", b"}", b"[", b'"', b",", b":", b"\\", b" ", b"0", b"-", b"\n", b"NaN", b"/**/")),
    "carriage return": _inserted((b"\r", b"\r\r", b"\r\n")),
    "no UTF-8": _inserted((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\x80")),
    "escape cut off": _inserted((b"\\u12", b"\\", b"\\ud83d", b"\\x41", b"\\u0000")),
}
KINDS = (*STRUCTURE, *BYTES)


def mutant(random: Random, kind: str, seed: Resource, name: str) -> bytes:
    """One resource of its own name, mutated; it may be several lines by now."""
    resource = {**deepcopy(seed), "id": name}
    if kind in STRUCTURE:
        return STRUCTURE[kind](random, resource)
    return BYTES[kind](random, line(resource))
