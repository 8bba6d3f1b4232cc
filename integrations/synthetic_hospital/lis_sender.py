"""The hospital's laboratory as a sender: it speaks MLLP, waits for each answer, and stops at one that is not AA."""

import socket
from pathlib import Path

from integrations.errors import NotInOrder
from integrations.hl7v2.mllp import Frames, framed
from integrations.hl7v2.segments import messages

SECONDS = 30
LONGEST_ANSWER = 1 << 16
CHUNK = 1 << 12


def send_messages(file: Path, host: str, port: int) -> int:
    """Send every message of a file, in order, and return how many. Raises NotInOrder when one is not taken."""
    sent = 0
    with socket.create_connection((host, port), timeout=SECONDS) as connection:
        for _, segments in messages(file):
            connection.sendall(framed(b"\r".join(segments) + b"\r"))
            if _code(connection) != b"AA":
                raise NotInOrder(
                    "a message was not taken", where=f"message {sent + 1}", to_do="read the listener's log"
                )
            sent += 1
    return sent


def _code(connection: socket.socket) -> bytes:
    """MSA-1 of the next acknowledgement."""
    frames = Frames(LONGEST_ANSWER)
    while received := connection.recv(CHUNK):
        for answer in frames.feed(received):
            [acknowledgement] = [line for line in answer.split(b"\r") if line.startswith(b"MSA")]
            return acknowledgement.split(b"|")[1]
    return b"the connection was closed"
