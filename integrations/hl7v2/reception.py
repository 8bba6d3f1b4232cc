"""The desk between the wire and the inbox: each message is judged, kept, and only then answered.

A message that came before, from the same sender under the same control id, is answered as it was then and not kept
again. Another one under that id is kept, so that people see both, and answered as an error, as often as it comes.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from integrations.contract import Contract
from integrations.hl7v2.answer import ERROR, REJECTED, TAKEN, Answer, acknowledgement, judge
from integrations.hl7v2.control import CONFLICT, KEYS_AT_ONCE, REPEATED, Known, Seen, control_key, digest_of
from integrations.hl7v2.feed import Feed
from integrations.hl7v2.header import Header, read_header
from integrations.hl7v2.inbox import Inbox
from integrations.hl7v2.mllp import START
from integrations.hl7v2.segments import LONGEST_MESSAGE, OUTSIDE, messages, segments_of

log = logging.getLogger(__name__)
MOST_WAITING = 1_000  # files, of limits.most_files that a contract allows
NOT_KEPT = Answer(code=ERROR, reason="it could not be kept: send it again")
OTHER_BODY = Answer(code=ERROR, reason=f"{CONFLICT} MSH-10")
# These are not kept: nobody has the right to send the first, and the others cannot be answered as one message.
STRANGER = Answer(code=REJECTED, reason="the sender (MSH-3, MSH-4) is not one of its certificate")
SEVERAL = Answer(code=REJECTED, reason="more than one message in a frame")
CUT_OFF = Answer(code=REJECTED, reason="another message began within the message")
TOO_MANY = Answer(code=REJECTED, reason=f"more than {LONGEST_MESSAGE:,} segments")


@dataclass(frozen=True, kw_only=True)
class Received:
    """One message as it came in, and the senders (MSH-3|MSH-4) that its connection may speak for; null: any."""

    message: bytes
    senders: frozenset[str] | None = None


@dataclass
class _Case:
    """A message on the desk."""

    received: Received
    segments: list[bytes]
    header: Header
    key: str | None
    digest: str
    answer: Answer = NOT_KEPT
    verdict: str | None = None  # of its control id, by integrations/hl7v2/control.py
    is_kept: bool = False


class Reception:
    """Takes messages for one feed. `counts`: how many were answered with each code, and how many came twice."""

    def __init__(self, contract: Contract, inbox: Inbox, known: Known) -> None:
        self.feed, self.inbox, self.known = Feed.of(contract), inbox, known
        self.unique_for = contract.messages.control_ids_unique_for
        self.counts = dict.fromkeys((TAKEN, ERROR, REJECTED, "repeated"), 0)
        self._heard: dict[str, dict[str, Seen]] = {}  # by file of the inbox and control key
        for path in inbox.files():
            with suppress(FileNotFoundError):  # an ingest has taken it in meanwhile: the records know it
                self._read_again(path)

    def take(self, received: Sequence[Received], at: datetime) -> list[bytes]:
        """Keep the messages, in their order, and return their acknowledgements. One fsync stands for all of them."""
        cases = [self._open(each) for each in received]
        seen = self._seen([case.key for case in cases if case.key])
        for case in cases:
            self._decide(case, seen.setdefault(case.key, Seen()) if case.key else Seen())
        if any(case.is_kept for case in cases):
            self._keep(cases, at)
        for case in cases:
            self.counts[case.answer.code] += 1
            if case.answer.reason:
                log.warning("answered %s: %s", case.answer.code, case.answer.reason)
        return [acknowledgement(case.segments[0], case.answer, at) for case in cases]

    def seal(self) -> None:
        """Let an ingest have what was heard so far, and forget what was taken in: the records know it.

        Where nobody takes it in, the file that is written to grows instead: an ingest takes so many files and no more.
        """
        if len(self.inbox.files()) < MOST_WAITING:
            self.inbox.seal()
        there = {path.name for path in self.inbox.files()}
        self._heard = {name: keys for name, keys in self._heard.items() if name in there}

    def _open(self, received: Received) -> _Case:
        segments = segments_of(received.message)
        header = read_header(segments[0], self.feed.encoding)
        return _Case(received, segments, header, control_key(header), digest_of(segments))

    def _decide(self, case: _Case, earlier: Seen) -> None:
        senders, sent_at = case.received.senders, case.header.sent_at
        if senders is not None and case.header.sender not in senders:
            case.answer = STRANGER
        elif any(segment.startswith((b"MSH", *OUTSIDE)) for segment in case.segments[1:]):
            case.answer = SEVERAL
        elif START in case.received.message:
            case.answer = CUT_OFF
        elif len(case.segments) > LONGEST_MESSAGE:
            case.answer = TOO_MANY
        else:
            case.verdict = earlier.verdict(case.digest, sent_at, self.unique_for)
            is_good = case.verdict in (None, REPEATED)
            case.answer = judge(case.segments, case.header, self.feed) if is_good else OTHER_BODY
            case.is_kept = case.verdict in (None, CONFLICT)
            if case.is_kept:
                earlier.add(case.digest, sent_at, is_conflict=case.verdict == CONFLICT)
            else:
                self.counts["repeated"] += 1

    def _keep(self, cases: list[_Case], at: datetime) -> None:
        new = [case for case in cases if case.is_kept]
        try:
            self.inbox.append([case.received.message for case in new], at)
        except OSError:
            lost = {case.key for case in new}
            for case in cases:  # one that came twice at once is as lost as its first
                if case.is_kept or (case.verdict and case.key in lost):
                    case.answer = NOT_KEPT
            return
        for case in new:
            if case.key:
                is_conflict = case.verdict == CONFLICT
                self._heard_of(self.inbox.path, case.key).add(case.digest, case.header.sent_at, is_conflict=is_conflict)

    def _read_again(self, path: Path) -> None:
        """Learn what a process before this one has kept."""
        heard = ((read_header(message[0], self.feed.encoding), digest_of(message)) for _, message in messages(path))
        kept = [(key, digest, header.sent_at) for header, digest in heard if (key := control_key(header))]
        for start in range(0, len(kept), KEYS_AT_ONCE):
            part = kept[start : start + KEYS_AT_ONCE]
            seen = self._seen([key for key, _, _ in part])
            for key, digest, sent_at in part:
                earlier = seen.setdefault(key, Seen())
                verdict = earlier.verdict(digest, sent_at, self.unique_for)
                if verdict in (None, CONFLICT):
                    for each in (earlier, self._heard_of(path, key)):
                        each.add(digest, sent_at, is_conflict=verdict == CONFLICT)

    def _heard_of(self, path: Path, key: str) -> Seen:
        return self._heard.setdefault(path.name, {}).setdefault(key, Seen())

    def _seen(self, keys: list[str]) -> dict[str, Seen]:
        """What came before under these control ids: what was taken in, and what lies in the inbox."""
        found: dict[str, Seen] = {}
        for key, digest, sent_day, is_conflict in self.known(keys) if keys else ():
            found.setdefault(key, Seen()).add(digest, sent_day, is_conflict=is_conflict)
        for heard in self._heard.values():
            for key in {*keys} & heard.keys():
                found.setdefault(key, Seen()).extend(heard[key])
        return found
