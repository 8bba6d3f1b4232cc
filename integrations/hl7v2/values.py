"""OBX-5 by its type in OBX-2, and the other fields of a result that need reading."""

import re
from dataclasses import dataclass

from integrations.hl7v2.segments import Delimiters

NUMBER = re.compile(r"\s*(<=|>=|<|>)?\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
NUMBER_TYPES = frozenset({"NM", "SI"})
TEXT_TYPES = frozenset({"ST", "TX", "FT", "DT", "TM", "TS", "DTM", "IS", "ID"})
CODED_TYPES = frozenset({"CE", "CWE", "CNE", "CF"})

STATUS = {"F": "final", "U": "final", "C": "corrected", "P": "preliminary", "S": "preliminary", "R": "preliminary"}
RETRACTED = frozenset({"D", "W"})
WITHOUT_RESULT = {"I": "pending", "O": "pending", "N": "not_asked", "X": "cancelled"}


@dataclass(frozen=True)
class Result:
    """What one OBX says was found; `problem` names the field that cannot be read, `reason` why there is nothing."""

    number: float | None = None
    comparator: str | None = None
    text: str | None = None
    code: str | None = None
    problem: str | None = None
    reason: str | None = None


NO_VALUE = Result(reason="no_value")
UNREADABLE = Result(problem="OBX-5")


def read_value(kind: str, sent: str, signs: Delimiters) -> Result:
    """Read OBX-5. A number sent as `<0.5` keeps its comparator; a titer or range (SN `^1^:^128`) stays text."""
    if signs.plain(sent) is None:
        return NO_VALUE
    if kind in TEXT_TYPES:
        return Result(text="\n".join(signs.plain(one) or "" for one in sent.split(signs.repetition)))
    if kind in NUMBER_TYPES:
        return _number(sent)
    if signs.repetition in sent:
        return UNREADABLE
    if kind == "SN":
        return _structured(signs.components(sent), signs)
    if kind in CODED_TYPES:
        return _coded(signs.components(sent), signs)
    return Result(reason=f"value_type {kind}" if kind.isalnum() and len(kind) <= 3 else "value_type")


def _number(sent: str) -> Result:
    found = NUMBER.fullmatch(sent)
    return Result(number=float(found.group(2)), comparator=found.group(1)) if found else UNREADABLE


def _structured(parts: list[str], signs: Delimiters) -> Result:
    if len(parts) < 2 or any(parts[2:]):
        text = "".join(filter(None, map(signs.plain, parts)))
        return Result(text=text) if text else NO_VALUE
    sign = signs.plain(parts[0]) or ""
    return _number(("" if sign == "=" else sign) + parts[1])


def _coded(parts: list[str], signs: Delimiters) -> Result:
    texts = [signs.plain(part) for part in parts]
    code, text = texts[0], texts[1] if len(texts) > 1 else None
    original = texts[8] if len(texts) > 8 else None
    if code is None and text is None and original is None:
        return NO_VALUE
    return Result(code=code, text=text or original)


def namespace(authority: str, signs: Delimiters) -> str | None:
    """Return the URI of an assigning authority (`name&oid&ISO` becomes `urn:oid:...`), else its name as sent."""
    parts = [signs.plain(part) for part in authority.split(signs.part)]
    universal = parts[1] if len(parts) > 1 else None
    kind = parts[2] if len(parts) > 2 else None
    if universal and kind == "ISO":
        return f"urn:oid:{universal}"
    if universal and kind in ("UUID", "GUID"):
        return f"urn:uuid:{universal}"
    return universal or parts[0]
