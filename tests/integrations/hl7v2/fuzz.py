"""`python -m tests.integrations.hl7v2.fuzz -max_total_time=60`: Atheris looks for bytes that make a parser raise."""

import sys

import atheris

with atheris.instrument_imports(include=["integrations.hl7v2"]):
    from integrations.hl7v2.answer import acknowledgement, judge
    from integrations.hl7v2.feed import Feed
    from integrations.hl7v2.header import read_header
    from integrations.hl7v2.mllp import Frames, TooLong
    from integrations.hl7v2.segments import segments_of
from datetime import UTC, datetime

from tests.integrations.hl7v2.conftest import ALL_TABLES, MSH, PID, contract

FEED = Feed.of(contract(*ALL_TABLES))
HEADS = [b"", *(f"{MSH.replace('ORU^R01^ORU_R01', kind)}\r".encode() for kind in ("ORU^R01", "OUL^R22", "ADT^A40"))]
HEADS += [f"{MSH.replace('ORU^R01^ORU_R01', 'ADT^A02')}\r{PID}\r".encode(), f"{MSH}\r{PID}\r".encode()]
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def try_bytes(data: bytes) -> None:
    """What a stranger may send: frames, and in them messages."""
    frames = Frames(1 << 16)
    head = HEADS[data[0] % len(HEADS)] if data else b""
    try:
        for message in frames.feed(b"\x0b" + head + data[1:] + b"\x1c\r"):
            segments = segments_of(message)
            answer = judge(segments, read_header(segments[0]), FEED)
            acknowledgement(segments[0], answer, NOON)
    except TooLong:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_bytes)
    atheris.Fuzz()
