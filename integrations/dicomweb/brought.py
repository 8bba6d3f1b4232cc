"""Files of QIDO answers that somebody brings: what is needed of them, a study a line, before any of it is landed.

A file is a JSON array of studies, or a study a line, packed or not. An array is read whole, so it may be no longer than
`longest_line`; one that is broken is one record that cannot be read. Of a manifest only what Rounds writes itself is
taken over.
"""

import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from integrations.dicomweb.needed import needed_line, needed_study, stand_in
from integrations.dicomweb.tags import Tag
from integrations.errors import Refused
from integrations.landing import MANIFEST, sent_manifest
from integrations.limits import Limits, beyond
from integrations.names import names_in
from integrations.sent import MOST_VALUES, Unpacking, json_depth, value_count

FORMS = (".json", ".ndjson")
MANIFEST_TEXTS = {
    "transactionTime": re.compile(r"[0-9T:.+Z-]{1,40}"),
    "since": re.compile(r"[0-9-]{1,10}"),
    "asked": re.compile(r"[0-9a-f]{1,64}"),
}
PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def keep_needed(path: Path, folder: Path, tags: tuple[Tag, ...], limits: Limits) -> Path:
    """Write what is needed of a file or folder into `folder`, and return it.

    Raises Refused for a file that holds no QIDO answer by its name, and for what is more than the limits allow.
    """
    folder.mkdir(mode=0o700)
    left = limits.largest_unpacked
    for name in names_in(path, limits.most_files):
        if name == MANIFEST:
            _write(folder / MANIFEST, iter([orjson.dumps(_own_part(sent_manifest(path)))]))
            continue
        plain = name.removesuffix(".gz")
        if not plain.endswith(FORMS):
            raise Refused(
                "a file is no answer of QIDO-RS, by its name", where=name, to_do="give .json and .ndjson files only"
            )
        target = folder / (plain if plain.endswith(".ndjson") else f"{plain}.ndjson")
        if target.exists():
            raise Refused("the extract holds a file packed and unpacked", where=name, to_do="give it once")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        reading = Unpacking(name, left)
        chunks = _bounded(reading.chunks(path if path.is_file() else path / name), name, limits)
        _write(target, _lines(chunks, plain, tags, limits))
        left = reading.left
    return folder


def _lines(chunks: Iterator[bytes], name: str, tags: tuple[Tag, ...], limits: Limits) -> Iterator[bytes]:
    """The lines that are kept of one file."""
    if not name.endswith(".json"):
        yield from _line_by_line(chunks, tags, limits)
        return
    whole = bytearray()
    for chunk in chunks:
        whole += chunk
        if len(whole) > limits.longest_line:
            break
    text = bytes(whole).removeprefix(b"\xef\xbb\xbf").lstrip()
    if len(whole) > limits.longest_line and text.startswith(b"["):
        raise beyond(f"a JSON array is longer than {limits.longest_line:,} bytes", name, "longest_line")
    studies = None if len(whole) > limits.longest_line else _array(text, limits)
    if studies is not None:
        yield from (needed_study(study, tags) for study in studies)
    elif text.startswith(b"["):
        yield stand_in("not_json", text)
    else:
        yield from _line_by_line(chain([bytes(whole)], chunks), tags, limits)


def _array(text: bytes, limits: Limits) -> list[Any] | None:
    """The studies of a JSON array, or the one of an object; null when it is neither, or beyond the limits."""
    if value_count(text) > MOST_VALUES or json_depth(text) > limits.deepest_json:
        return None
    try:
        sent = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return sent if isinstance(sent, list) else [sent]


def _line_by_line(chunks: Iterator[bytes], tags: tuple[Tag, ...], limits: Limits) -> Iterator[bytes]:
    """The lines of NDJSON; one that is too long is read over, and its begin stands for it."""
    rest, is_too_long = b"", False
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if is_too_long:
                yield stand_in("beyond_limits", line)
            elif line.strip():
                yield needed_line(line.removeprefix(b"\xef\xbb\xbf"), tags, limits)
            is_too_long = False
        if len(rest) > limits.longest_line:
            rest, is_too_long = b"", True
    if is_too_long or rest.strip():
        yield stand_in("beyond_limits", rest) if is_too_long else needed_line(rest, tags, limits)


def _bounded(chunks: Iterator[bytes], name: str, limits: Limits) -> Iterator[bytes]:
    """The same, as long as it is no more than one file may be."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limits.largest_file:
            raise beyond(f"a file is larger than {limits.largest_file:,} bytes", name, "largest_file")
        yield chunk


def _own_part(sent: dict[str, Any]) -> dict[str, Any]:
    """Of a manifest what Rounds writes, in the form in which it writes it; that of a landed extract holds it within."""
    if isinstance(within := sent.get("sent_manifest"), dict):
        return _own_part(within)
    kept: dict[str, Any] = {
        name: text
        for name, form in MANIFEST_TEXTS.items()
        if isinstance(text := sent.get(name), str)
        if form.fullmatch(text)
    }
    kept["is_complete"] = sent.get("is_complete") is True
    kept["files"] = [
        {"name": each["name"], "sha256": each["sha256"]}
        for each in sent.get("files") or []
        if isinstance(each, dict) and all(isinstance(each.get(key), str) for key in ("name", "sha256"))
        if PLAIN.fullmatch(each["name"]) and PLAIN.fullmatch(each["sha256"])
    ]
    return kept


def _write(path: Path, lines: Iterator[bytes]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for line in lines:
            file.write(line + b"\n")
