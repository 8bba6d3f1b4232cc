"""HL7 v2 files as numbered segments, and what the delimiters of a message make of them.

Segments end with CR, LF or both; empty ones are not counted. MLLP frame bytes are dropped.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 20
ENDS = re.compile(rb"[\r\n]+")
FRAME = b"\x0b\x1c \t"
BOM = b"\xef\xbb\xbf"
NULL = '""'  # HL7 for "there is no value", which differs from "not sent" only in snapshots


@dataclass(frozen=True)
class Delimiters:
    """The characters that MSH-1 and MSH-2 of a message declare."""

    field: str
    component: str
    repetition: str
    escape: str
    part: str

    @classmethod
    def of(cls, msh: str) -> "Delimiters | None":
        """Read them from an MSH segment; None when they cannot be read."""
        signs = msh[4:8]
        if len(signs) < 4 or msh[3] in signs or len(set(signs)) < 4 or any(sign.isalnum() for sign in msh[3:8]):
            return None
        return cls(msh[3], signs[0], signs[1], signs[2], signs[3])

    def plain(self, text: str) -> str | None:
        """Return a value with its escapes resolved; None when nothing was sent."""
        if not text or text == NULL:
            return None
        return self._unescaped(text) if self.escape in text else text

    def components(self, text: str) -> list[str]:
        """Return the components of a field, escapes not yet resolved."""
        return text.split(self.component)

    def _unescaped(self, text: str) -> str:
        own = {
            "F": self.field,
            "S": self.component,
            "T": self.part,
            "R": self.repetition,
            "E": self.escape,
            ".br": "\n",
        }
        own |= {"H": "", "N": ""}
        sign = re.escape(self.escape)

        def resolved(found: re.Match[str]) -> str:
            code = found.group(1)
            if code in own:
                return own[code]
            if re.fullmatch(r"X(?:[0-9A-Fa-f]{2})+", code):
                return bytes.fromhex(code[1:]).decode("utf-8", errors="replace")
            return found.group(0)

        return re.sub(f"{sign}([^{sign}]*){sign}", resolved, text)


def field(fields: list[str], number: int) -> str:
    """Return a field by its HL7 number, empty when the segment is shorter."""
    return fields[number] if len(fields) > number else ""


def raw_segments(path: Path) -> Iterator[bytes]:
    """Yield the segments of a file as they lie in it, in bounded memory."""
    rest = b""
    with path.open("rb") as file:
        start = file.read(len(BOM))
        rest = b"" if start == BOM else start
        while chunk := file.read(CHUNK):
            *whole, rest = ENDS.split(rest + chunk)
            yield from filter(None, (segment.strip(FRAME) for segment in whole))
    yield from filter(None, (segment.strip(FRAME) for segment in ENDS.split(rest)))


def segments(path: Path) -> Iterator[tuple[int, str | None]]:
    """Yield each segment with its number from 1; None stands for one that is no UTF-8."""
    for number, raw in enumerate(raw_segments(path), 1):
        try:
            yield number, raw.decode()
        except UnicodeDecodeError:
            yield number, None


def segment_bytes(path: Path, numbers: Collection[int]) -> dict[int, bytes]:
    """Return the bytes of these segments."""
    wanted = set(numbers)
    return {number: raw for number, raw in enumerate(raw_segments(path), 1) if number in wanted}
