"""Ten thousand broken messages per parser: none raises, each is answered, and a file of them balances."""

import os
import tracemalloc
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from integrations.hl7v2.answer import Answer, acknowledgement, judge
from integrations.hl7v2.feed import Feed
from integrations.hl7v2.header import read_header
from integrations.hl7v2.inbox import inbox_of, sealed_files
from integrations.hl7v2.mllp import Frames, TooLong, framed
from integrations.hl7v2.segments import messages, segments_of
from integrations.ingest.reasons import REASONS
from integrations.records.schema import quarantine
from tests.integrations.hl7v2.conftest import ALL_TABLES, MSH, OBR, PID, contract, obx
from tests.integrations.hl7v2.feed import MORNING, open_feed
from tests.integrations.hl7v2.test_admissions import ADMITTED, message

SOAK = int(os.environ.get("ROUNDS_SOAK", 0))  # 25 seeds in each round, and in each round others: a million mutants
SEEDS = range(25 * SOAK, 25 * SOAK + 25) if SOAK else range(1)
MUTANTS = 10_000  # of each kind, and of each seed
SPM = "SPM|1|S1||SER|||||||||||||20240301080000"
KINDS = {
    "ORU^R01": [MSH, PID, OBR, obx(), obx("<^5", "SN"), obx("A^b~C", "CWE"), obx(r"\F\word", "ST")],
    "OUL^R22": [MSH.replace("ORU^R01^ORU_R01", "OUL^R22"), PID, SPM, OBR, obx(), SPM, OBR, obx("7")],
    "ADT": [*ADMITTED, *message("A02", ward="ICU"), *message("A03", f36="01")],
    "ADT^A40": [*message("A40")[:3], "MRG|M2^^^LAB&1.2.3&ISO^MR"],
}
PIECES = [b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"\x00", b"\xff", b"\x1c\r", b"\x0b", b"MSH|", b"PID|", b'""']


def mutant(random: Random, sent: bytes) -> bytes:
    """A message with one to five places cut out, doubled, overwritten or added to."""
    for _ in range(random.randint(1, 5)):
        start = random.randrange(len(sent) + 1)
        end = start + random.choice((0, 1, 3, 20))
        new = random.choice((b"", sent[start:end] * 2, random.choice(PIECES), random.randbytes(random.randint(1, 4))))
        sent = sent[:start] + new + sent[end:]
    return sent


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_message_is_answered_and_never_raises(kind: str) -> None:
    feed, codes = Feed.of(contract(*ALL_TABLES)), Counter[str]()
    whole = "\r".join(KINDS[kind]).encode()
    for seed in SEEDS:
        random = Random(f"{seed} {kind}")
        for _ in range(MUTANTS):
            segments = segments_of(mutant(random, whole))
            answer = judge(segments, read_header(segments[0]), feed)
            codes[answer.code] += 1
            assert answer.code == "AA" or answer.reason.split(" ")[0] in REASONS
    print(f"{kind}: {sum(codes.values()):,} mutants, answered {dict(codes)}")
    assert min(codes["AA"], codes["AE"], codes["AR"]) > MUTANTS / 100


N = 2 << 20  # bytes
BOUNDLESS = {
    "answers": [MSH, PID, OBR, obx("a~" * (N // 2), "CWE")],
    "identifiers": [MSH, PID + "1^^^a~" * (N // 6), OBR, obx()],
    "fields": [MSH, PID, OBR, "OBX" + "|" * N],
    "escapes": [MSH, PID, OBR, obx("\\" * N, "ST")],
    "fields of the header": [MSH + "|" * N, PID, OBR, obx()],
    "digits": [MSH, PID, OBR, obx("9" * N)],
    "segments": [MSH, PID, OBR, *[obx()] * 5_000],
}


@pytest.mark.parametrize("kind", BOUNDLESS)
def test_a_message_without_bounds_costs_no_more_than_a_copy_of_it_or_two(kind: str) -> None:
    feed, sent = Feed.of(contract(*ALL_TABLES)), "\r".join(BOUNDLESS[kind]).encode()
    tracemalloc.start()
    segments = segments_of(sent)
    header = read_header(segments[0])
    answer = judge(segments, header, feed)
    acknowledgement(segments[0], answer, datetime(2024, 3, 1, tzinfo=UTC))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * N
    is_refused = kind not in ("digits", "segments")
    assert (answer.reason == "bad_segment segment") == is_refused


def test_broken_messages_leave_nothing_in_memory() -> None:
    feed, random = Feed.of(contract(*ALL_TABLES)), Random(1)
    whole = [("\r".join(lines)).encode() for lines in KINDS.values()]

    def some(count: int) -> None:
        for _ in range(count):
            segments = segments_of(mutant(random, random.choice(whole)))
            judge(segments, read_header(segments[0]), feed)

    some(500)
    tracemalloc.start()
    some(500)
    before, _ = tracemalloc.get_traced_memory()
    some(1_500)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 1 << 18
    assert peak < 1 << 21


def test_frames_are_found_in_any_bytes_however_they_are_cut() -> None:
    found = 0
    for seed in SEEDS:
        random = Random(seed)
        for _ in range(MUTANTS):
            bodies = [random.randbytes(random.randint(0, 40)).replace(b"\x1c\r", b"") for _ in range(3)]
            sent = b"".join(
                random.randbytes(random.randint(0, 3)).replace(b"\x0b", b"") + framed(body) for body in bodies
            )
            frames, received, place = Frames(1_000), list[bytes](), 0
            while place < len(sent):
                size = random.randint(1, 30)
                received += frames.feed(sent[place : place + size])
                place += size
            assert received == bodies
            found += len(received)
    assert found == 3 * MUTANTS * len(SEEDS)


def test_a_frame_is_never_held_beyond_its_bound() -> None:
    random, refused = Random(SOAK + 1), 0
    for _ in range(MUTANTS):
        frames = Frames(100)
        try:
            for _ in range(20):
                list(frames.feed(random.choice((b"\x0b", b"\x1c", b"\r", b"A" * 30, b"\x1c\r\x0b"))))
                assert frames.held <= 100
        except TooLong:
            refused += 1
    assert refused > MUTANTS / 10


# What one message alone cannot tell: it takes the codes of the source, or the messages before it.
LATER = {"unknown_code", "unknown_unit", "impossible_value", "impossible_time", "conflicting_message", "suspect_batch"}
NOT_BY_ITSELF = {("bad_value", "value"), ("missing_field", "started_at")}


def test_a_sender_is_told_of_what_lies_in_quarantine_and_of_nothing_else(home: Path) -> None:
    feed, random = open_feed(home), Random(f"agree {SOAK}")
    told, in_quarantine = dict[tuple[str, int], int](), dict[int, set[str]]()
    answers: list[Answer] = []
    with inbox_of("lab", feed.landing) as inbox:
        for kind, lines in KINDS.items():
            for number in range(250):
                numbered = "\r".join(lines).replace("||P|", f"|{kind}-{number}|P|").encode()
                inbox.append([mutant(random, numbered).replace(b"\x0b", b"")], MORNING)
    for path in sealed_files("lab", feed.landing):
        for first, segments in messages(path):
            answers.append(judge(segments, read_header(segments[0]), Feed.of(feed.contract)))
            told |= {(path.name, place): len(answers) - 1 for place in range(first, first + len(segments))}
    assert feed.take_in()
    with feed.records.read() as db:
        for row in db.execute(select(quarantine)):
            if row.reason not in LATER and (row.reason, row.detail) not in NOT_BY_ITSELF:
                in_quarantine.setdefault(told[row.source_file, row.source_line], set()).add(
                    f"{row.table_name} {row.reason} {row.detail}"
                )
            elif row.reason == "conflicting_message":
                answers[told[row.source_file, row.source_line]] = Answer(code="AA")
    wrong = {place for place, answer in enumerate(answers) if answer.code != "AA"}
    print(f"{len(answers):,} messages, {len(wrong):,} of them not answered AA")
    assert min(len(wrong), len(answers) - len(wrong)) > 100
    assert {place: in_quarantine[place] for place in in_quarantine if place not in wrong} == {}
    assert [answers[place] for place in wrong if place not in in_quarantine] == []


def test_a_file_of_broken_messages_balances(home: Path) -> None:
    feed = open_feed(home)
    inbox = feed.landing / "lab" / ".inbox"
    for part in ("open", "sealed"):
        (inbox / part).mkdir(parents=True)
    for seed in SEEDS:
        random = Random(seed)
        mutants = []
        for kind, lines in KINDS.items():
            for number in range(MUTANTS // 10):
                numbered = "\r".join(lines).replace("||P|", f"|{seed}-{kind}-{number}|P|").encode()
                mutants.append(mutant(random, numbered))
        random.shuffle(mutants)
        (inbox / "sealed" / f"{seed:04}.hl7").write_bytes(b"".join(map(framed, mutants)))
        result = feed.take_in()
        assert result is not None
        assert all(account.balances for account in result.accounts.values())
        assert result.accounts.keys() == {"patient", "patient_link", "encounter", "encounter_location", "observation"}
        assert result.accounts["observation"].mapped > MUTANTS / 100
        assert set(result.quarantined) <= set(REASONS)
        print({table: vars(account) for table, account in result.accounts.items()})
