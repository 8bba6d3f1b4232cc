"""Files of HL7 v2 messages as segments and messages, in bounded memory whatever the size of a file.

A segment ends with CR, LF or both; its number counts from 1 in its file, blank ones left out. File and batch headers
(FHS, BHS, BTS, FTS) count as segments and belong to no message. The bytes of MLLP framing are dropped; what a frame
holds is a message of its own, with or without a header.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from integrations.sent import SentRecord, sent_record

CHUNK = 1 << 20  # bytes
LONGEST_SEGMENT = 32 << 20
TOO_LONG = b"(too long for a segment)"
AROUND = b" \t\x00\x0b\x0c\x1a\x1c"  # blanks and MLLP framing
FRAME = b"\x0b"  # what an MLLP frame begins with
BOM = b"\xef\xbb\xbf"
LONGEST_MESSAGE = 100_000  # segments
WHOSE, OF_SOMEBODY = (b"PID", b"OBR", b"SPM"), (b"OBX", b"PV1", b"MRG")
OUTSIDE = (b"FHS", b"BHS", b"BTS", b"FTS")


def segments(path: Path, *, chunk_bytes: int = CHUNK, longest: int = LONGEST_SEGMENT) -> Iterator[bytes]:
    """Yield the segments of a file in order; one that is too long arrives as a text that is no segment."""
    sent = (segment.strip(AROUND) for segment in _as_sent(path, chunk_bytes, longest))
    return filter(None, sent)


def _as_sent(path: Path, chunk_bytes: int, longest: int) -> Iterator[bytes]:
    """Yield what stands between the ends of segments, blank ones too, with the bytes of framing."""
    rest, is_too_long = b"", False
    with path.open("rb", buffering=0) as file:
        is_start = True
        while chunk := file.read(chunk_bytes):
            if is_start:
                chunk, is_start = chunk.removeprefix(BOM), False
            *ended, last = chunk.replace(b"\n", b"\r").split(b"\r")
            if ended:
                ended[0] = TOO_LONG if is_too_long else rest + ended[0]
                rest, is_too_long = last, False
                yield from ended
            elif not is_too_long:
                rest += last
            if len(rest) > longest:
                rest, is_too_long = b"", True
    yield TOO_LONG if is_too_long else rest


def segments_of(message: bytes) -> list[bytes]:
    """The segments of one message, as a file of it would give them; at least one."""
    ended = message.replace(b"\n", b"\r").split(b"\r")
    return [segment for segment in (each.strip(AROUND) for each in ended) if segment] or [b""]


def messages(path: Path, *, longest: int = LONGEST_MESSAGE) -> Iterator[tuple[int, list[bytes]]]:
    """Yield each message as the number of its first segment and its segments.

    What stands before the first MSH, in a frame without one, after a batch trailer, or beyond the `longest` message
    comes as messages that do not begin with MSH.
    """
    number, first, message, is_framed = 0, 1, list[bytes](), False
    for sent in _as_sent(path, CHUNK, LONGEST_SEGMENT):
        is_framed = is_framed or sent.startswith(FRAME)
        if not (segment := sent.strip(AROUND)):
            continue
        number += 1
        if segment.startswith(OUTSIDE):
            if message:
                yield first, message
            first, message = number + 1, []
        elif message and (is_framed or segment.startswith(b"MSH") or len(message) == longest):
            yield first, message
            first, message = number, [segment]
        else:
            message.append(segment)
        is_framed = False
    if message:
        yield first, message


def sent_segments(path: Path, numbers: Collection[int]) -> Iterator[SentRecord]:
    """Yield these segments, from 1, in their order, without what ends them.

    Two results of two patients may be written alike: whose it is, and of which order, is part of a record's identity.
    """
    left, around = set(numbers), dict[bytes, bytes]()
    for number, segment in enumerate(segments(path) if left else (), 1):
        name = segment[:3]
        if name in (b"MSH", b"PID"):
            around = {}
        if number in left:
            before = around.values() if name in OF_SOMEBODY else ()
            yield sent_record(number, segment, identity=b"\r".join([*before, segment]))
            left.remove(number)
            if not left:
                return
        if name in WHOSE:
            around[name] = segment
