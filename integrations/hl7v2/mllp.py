"""MLLP: a message between a start block (VT) and an end block (FS CR), out of a stream of bytes, in bounded memory."""

from collections.abc import Iterator

START, END = b"\x0b", b"\x1c\r"


class TooLong(Exception):
    """A frame is longer than what is taken, or never begins."""


class Frames:
    """The frames of one connection. What stands between two frames is passed over."""

    def __init__(self, longest: int) -> None:
        self.longest, self._rest, self._looked_at = longest, bytearray(), 0

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Take what was received and yield each message that is whole by now. Raises TooLong."""
        self._rest += received
        while True:
            if not self._rest.startswith(START):
                begin = self._rest.find(START)
                del self._rest[: begin if begin >= 0 else len(self._rest)]
                self._looked_at = 0
            end = self._rest.find(END, self._looked_at)
            if end < 0:
                self._looked_at = max(len(self._rest) - 1, 0)
                if len(self._rest) > self.longest:
                    raise TooLong
                return
            message = bytes(self._rest[1:end])
            del self._rest[: end + len(END)]
            self._looked_at = 0
            if len(message) > self.longest:
                raise TooLong
            yield message

    @property
    def held(self) -> int:
        """How many bytes of a frame that is not whole are held."""
        return len(self._rest)


def framed(message: bytes) -> bytes:
    """A message in its frame."""
    return START + message + END
