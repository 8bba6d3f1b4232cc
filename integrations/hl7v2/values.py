"""What a result says (OBX-5), read by its type (OBX-2)."""

import re
from typing import NamedTuple

from integrations.hl7v2.header import Header

NUMBER = re.compile(r"(<=|>=|<|>)?\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)", re.ASCII)
COMPARATORS = {"": None, "=": None, "<": "<", "<=": "<=", ">=": ">=", ">": ">"}
TEXTS = {"ST", "TX", "FT", "DT", "TM", "TS", "DTM", "SI", "ID", "IS"}
CODED = {"CE", "CWE", "CNE", "CF"}
# HL7 table 0125: documents, addresses, names, identifiers, waveforms, money. No value of ours.
OTHER_TYPES = {
    *("AD", "CK", "CN", "CP", "CX", "DR", "ED", "EI", "HD", "MA", "MF", "MO"),
    *("NA", "PN", "PPN", "RP", "SRT", "TN", "XAD", "XCN", "XON", "XPN", "XTN"),
}


class Value(NamedTuple):
    """A number with its comparator, or words and a code. `out_of_scope_reason` or `bad_field` say why there is none."""

    number: float | None = None
    comparator: str | None = None
    text: str | None = None
    code: str | None = None
    out_of_scope_reason: str | None = None
    bad_field: str | None = None


NOTHING = Value(out_of_scope_reason="no_value")
BAD = Value(bad_field="OBX-5")


def read_value(kind: str, field: str, header: Header) -> Value:
    """Read one OBX-5. Several answers in words or codes are joined by `; `; several numbers cannot be one value."""
    if field in ("", '""') or field.isspace():
        return NOTHING
    if kind == "NM":
        return _number(field)
    if kind == "SN":
        return _structured(field, header)
    if kind in TEXTS:
        texts = [header.plain(text) for text in header.repeated(field)]
        return Value(text=_joined(texts)) if any(texts) else NOTHING
    if kind in CODED:
        return _coded(field, header)
    return Value(out_of_scope_reason="value_type") if kind in OTHER_TYPES else Value(bad_field="OBX-2")


def _number(field: str) -> Value:
    """Read a number; laboratories write `<0.5` though HL7 has SN for it."""
    found = NUMBER.fullmatch(field.strip())
    return Value(float(found[2]), found[1]) if found else BAD


def _structured(field: str, header: Header) -> Value:
    """Read comparator, number, separator, number: `<^0.5` is a number below; `^100^-^200` and `^1^:^128` are words."""
    parts = [header.plain(part) or "" for part in header.components(field, 4)]
    comparator, first, separator, second = parts
    numbers = [NUMBER.fullmatch(part) for part in (first, second) if part]
    if not first or not all(found and found[1] is None for found in numbers):
        return BAD
    if separator or second or comparator == "<>":
        return Value(text="".join(parts))
    return Value(float(first), COMPARATORS[comparator]) if comparator in COMPARATORS else BAD


def _coded(field: str, header: Header) -> Value:
    """Read code and words; the alternate code where the first is empty, the original text (CWE-9) without words."""
    codes, texts = list[str | None](), list[str | None]()
    for answer in header.repeated(field):
        code, text, _, other, other_text, _, _, _, original = (
            header.plain(part) for part in header.components(answer, 9)
        )
        codes.append(code or other)
        texts.append(text or other_text or original)
    return Value(text=_joined(texts), code=_joined(codes)) if any(codes) or any(texts) else NOTHING


def _joined(answers: list[str | None]) -> str | None:
    return "; ".join(answer for answer in answers if answer) or None
