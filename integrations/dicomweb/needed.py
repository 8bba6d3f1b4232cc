"""Of what a PACS says of a study, the part that is needed: the one filter before anything is kept.

A study becomes one line of DICOM JSON with the wanted attributes in a fixed order, and its series within. What cannot
be read cannot be told apart from names and birth dates either, so a stand-in takes its place, which says that it came:
`unreadable` with the reason, size and checksum of a record, `unreadable: true` of one attribute. The filter leaves its
own lines as they are.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import orjson

from integrations.dicomweb.tags import OF_A_SERIES, SERIES, SERIES_UID, Tag
from integrations.limits import Limits
from integrations.sent import MOST_VALUES, json_depth, value_count

LONGEST_VALUE = 64  # characters: the most that UI and LO may have, and the others have less
LARGEST_NUMBER = 1 << 53
UNREADABLE = "unreadable"
REASONS = ("not_json", "wrong_type", "beyond_limits")
SHA256 = re.compile(r"[0-9a-f]{64}")
Element = dict[str, Any]


def needed_line(raw: bytes, tags: Sequence[Tag], limits: Limits) -> bytes:
    """Return the line that is kept of one record as it was sent."""
    if len(raw) > limits.longest_line or value_count(raw) > MOST_VALUES or json_depth(raw) > limits.deepest_json:
        return stand_in("beyond_limits", raw)
    try:
        return needed_study(orjson.loads(raw), tags)
    except orjson.JSONDecodeError:
        return stand_in("not_json", raw)


def needed_study(sent: object, tags: Sequence[Tag], series: Sequence[object] | None = None) -> bytes:
    """Return the line that is kept of a study; its series are those given, else those that stand within it."""
    if not isinstance(sent, dict) or SERIES_UID.number in sent:
        return stand_in("wrong_type", orjson.dumps(sent))
    if UNREADABLE in sent:
        return _same_stand_in(sent)
    kept = needed_attributes(sent, tags)
    within = sent.get(SERIES)
    if series is not None or within is not None:
        kept[SERIES] = _series(within if series is None else {"Value": list(series)})
    return orjson.dumps(kept)


def needed_attributes(sent: dict[str, Any], tags: Sequence[Tag]) -> dict[str, Element]:
    """Keep the attributes that are wanted and not empty."""
    found = {tag.number: _element(sent.get(tag.number), tag) for tag in tags}
    return {number: element for number, element in found.items() if element}


def stand_in(reason: str, raw: bytes) -> bytes:
    """The line that is kept of a record that cannot be read."""
    return orjson.dumps({UNREADABLE: reason, "sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)})


def _same_stand_in(sent: dict[str, Any]) -> bytes:
    reason, digest, size = sent[UNREADABLE], sent.get("sha256"), sent.get("bytes")
    is_ours = reason in REASONS and isinstance(digest, str) and SHA256.fullmatch(digest) and type(size) is int
    if len(sent) != 3 or not is_ours:
        return stand_in("wrong_type", orjson.dumps(sent))
    return orjson.dumps({UNREADABLE: reason, "sha256": digest, "bytes": size})


def _series(sequence: object) -> Element:
    items = sequence.get("Value", []) if isinstance(sequence, dict) and UNREADABLE not in sequence else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return {"vr": "SQ", UNREADABLE: True}
    return {"vr": "SQ", "Value": [needed_attributes(item, OF_A_SERIES) for item in items]}


def _element(sent: object, tag: Tag) -> Element | None:
    """One attribute in the form of DICOM JSON; null when it is not there, or has no value."""
    if sent is None:
        return None
    is_read = isinstance(sent, dict) and ("Value" in sent or sent.keys() <= {"vr"})  # and no bulk data in its place
    values = sent.get("Value", []) if isinstance(sent, dict) and is_read else None
    if not isinstance(values, list):
        return {"vr": tag.vr, UNREADABLE: True}
    if tag.is_list:
        values = [part for value in values for part in (value.split("\\") if isinstance(value, str) else [value])]
    kept = [_scalar(value) for value in values if value is not None]
    kept = [value for value in kept if value != ""]
    if None in kept or len(kept) > (LONGEST_VALUE if tag.is_list else 1):
        return {"vr": tag.vr, UNREADABLE: True}
    return {"vr": tag.vr, "Value": kept} if kept else None


def _scalar(value: object) -> str | int | None:
    """A text without its padding, or a whole number; null for what no wanted attribute may be."""
    if isinstance(value, str):
        text = value.strip(" \0")
        return text if len(text) <= LONGEST_VALUE and text.isprintable() and "\\" not in text else None
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_NUMBER:
        return int(value)
    return value if type(value) is int and abs(value) < LARGEST_NUMBER else None
