"""The manifest of a bulk export: which files there are, where, and up to when they speak."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import httpx

from integrations.errors import Refused
from integrations.limits import beyond
from integrations.web.origin import origin, resolved

Part = Literal["output", "deleted", "error"]
PARTS: tuple[Part, ...] = ("output", "deleted", "error")
TYPE = re.compile(r"[A-Z][A-Za-z]{1,60}")
EARLIEST_YEAR = 1900
LARGEST_LINK = 2_048  # bytes of one link in a manifest, as a bound of the whole


@dataclass(frozen=True, kw_only=True)
class Link:
    """One file: where it is, and its name here, without the .gz that it may get."""

    part: Part
    name: str
    url: httpx.URL
    count: int | None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`transaction_time`: the files hold what the server knew then, as it wrote the instant."""

    transaction_time: str
    needs_token: bool
    links: tuple[Link, ...]
    serious: int = 0  # what a search says that it could not give; a bulk export says so in its error files

    @property
    def fetched_until(self) -> datetime:
        """The instant from which the next export asks."""
        return datetime.fromisoformat(self.transaction_time)

    def is_of_same_export(self, other: "Manifest") -> bool:
        """Whether both speak of the same files in the same order, whatever their links are signed with."""
        mine, others = (
            [(each.name, each.count, each.url.copy_with(query=None)) for each in one.links] for one in (self, other)
        )
        return self.transaction_time == other.transaction_time and mine == others


def read_manifest(pages: list[dict[str, Any]], base: httpx.URL, most_files: int) -> Manifest:
    """Read the manifest in its pages. Raises Refused when it is none, or names more than `most_files`."""
    first = pages[0] if pages else {}
    moment = first.get("transactionTime")
    try:
        read = datetime.fromisoformat(str(moment))
        is_instant = read.tzinfo is not None and read.astimezone(UTC).year >= EARLIEST_YEAR
    except (ValueError, OverflowError):
        is_instant = False
    if not is_instant:
        raise _no_manifest(base, "its transactionTime is no instant")
    found = [(part, entry) for page in pages for part in PARTS for entry in _entries(page, part, base)]
    if len(found) > most_files:
        raise beyond(f"the manifest names {len(found):,} files, more than {most_files:,}", origin(base), "most_files")
    seen: Counter[str] = Counter()
    links = []
    for part, entry in found:
        kind = part if part != "output" else _type(entry, base)
        count = entry.get("count")
        links.append(
            Link(
                part=part,
                name=f"{kind}.{seen[kind]:03d}.ndjson",
                url=resolved(base, entry.get("url")),
                count=count if type(count) is int else None,
            )
        )
        seen[kind] += 1
    # a server that does not say gets our token only at its own address
    return Manifest(
        transaction_time=str(moment), needs_token=first.get("requiresAccessToken") is not False, links=tuple(links)
    )


def _entries(page: dict[str, Any], part: Part, base: httpx.URL) -> list[dict[str, Any]]:
    entries = page.get(part) or (page.get("outcome") if part == "error" else None) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _no_manifest(base, f"its {part} is no list of files")
    return entries


def _type(entry: dict[str, Any], base: httpx.URL) -> str:
    kind = entry.get("type")
    if not isinstance(kind, str) or not TYPE.fullmatch(kind):
        raise _no_manifest(base, "a file has no resource type")
    return kind


def _no_manifest(base: httpx.URL, why: str) -> Refused:
    return Refused(f"the server's manifest cannot be read: {why}", where=origin(base), to_do="tell the server's keeper")
