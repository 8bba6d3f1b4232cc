"""What was sent, in bounded memory: files unpacked, lines counted, records identified, the depth of JSON measured."""

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from integrations.errors import Refused
from integrations.limits import beyond

CHUNK = 1 << 20
KEPT = 1 << 20  # bytes that are kept of one record, beside the whole in landing
BOM = b"\xef\xbb\xbf"
BLANKS = b" \t\r\x0b\x0c"
LINE_END = ord("\n")
# Possessive, so that a string without end costs one pass and not one for each of its quotes.
STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
MOST_VALUES = 500_000  # of one JSON text: as objects of Python they take some 100 MB
NO_BRACKETS = bytes(sign for sign in range(256) if sign not in b"[]{}")


@dataclass
class Unpacking:
    """Reads a file that is packed or not, in bounded memory; of packed ones no more than is `left`."""

    name: str
    left: int
    place: str = ""  # what an error calls the file, where its name may be that of a patient

    def chunks(self, path: Path) -> Iterator[bytes]:
        """Yield the file, unpacked. Raises Refused when it is cut off or broken, or comes to more than is left."""
        is_packed = self.name.endswith(".gz")
        opener = gzip.open if is_packed else open
        try:
            with opener(path, "rb") as file:
                while chunk := file.read(CHUNK):
                    self.left -= len(chunk) if is_packed else 0
                    if self.left < 0:
                        raise beyond(
                            "packed files come to more than they may", self.place or self.name, "largest_unpacked"
                        )
                    yield chunk
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Refused(
                "a compressed file is cut off or broken",
                where=self.place or self.name,
                to_do="ask the sender for it again",
            ) from error


def count_lines(chunks: Iterable[bytes]) -> int:
    """Count the lines that hold more than blanks."""
    count, is_blank = 0, True  # the line that the last chunk ended in
    for number, chunk in enumerate(chunks):
        text = (chunk if number else chunk.removeprefix(BOM)).translate(None, BLANKS)
        if text:
            is_text = np.frombuffer(text, dtype=np.uint8) != LINE_END
            count += int(np.count_nonzero(is_text[1:] & ~is_text[:-1])) + int(is_text[0] and is_blank)
            is_blank = not is_text[-1]
    return count


@dataclass(frozen=True)
class SentRecord:
    """A record as it came. sha256: its identity, the same bytes are the same record. head: of a long one its begin."""

    number: int
    sha256: str
    head: bytes


def sent_record(number: int, raw: bytes, identity: bytes | None = None) -> SentRecord:
    """Identify a record by its bytes, or by those that include what it cannot be told apart without."""
    return SentRecord(number, hashlib.sha256(raw if identity is None else identity).hexdigest(), raw[:KEPT])


def json_depth(text: bytes) -> int:
    """How many lists and objects lie within each other, in JSON or in what should be; those in strings are text."""
    brackets = np.frombuffer(STRINGS.sub(b"", text).translate(None, NO_BRACKETS), dtype=np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    return int(np.cumsum(steps).max(initial=0))


def value_count(text: bytes) -> int:
    """How many values JSON holds at most, without the names beside them."""
    return text.count(b",") + text.count(b"[") + text.count(b"{") + 1
