"""The listener: a message is kept and fsynced before it is answered, and nobody takes more than their share of it."""

import multiprocessing
import os
import resource
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from integrations.errors import EnvironmentFault, Refused
from integrations.hl7v2.answer import Answer, acknowledgement
from integrations.hl7v2.inbox import Disk, inbox_of
from integrations.hl7v2.listener import Bounds
from integrations.hl7v2.mllp import framed
from integrations.hl7v2.reception import MOST_WAITING, Received, Reception
from tests.integrations.hl7v2.conftest import OBR, PID, contract, obx
from tests.integrations.hl7v2.feed import open_feed
from tests.integrations.hl7v2.killed import admission
from tests.integrations.hl7v2.killed import message as result_of
from tests.integrations.hl7v2.listening import Sender, kept, listening, message, nobody

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def test_a_message_is_answered_by_its_control_id_and_kept(tmp_path):
    with listening(contract(), tmp_path) as port, Sender(port) as sender:
        assert sender.send(message("7")) == ["MSA", "AA", "7"]
        assert sender.send(message("8")) == ["MSA", "AA", "8"]
    assert kept(tmp_path) == ["7", "8"]


def test_the_answer_goes_back_to_who_sent_in_their_own_signs():
    sent = message("7").replace(b"|", b"#").replace(b"^", b"@").split(b"\r")[0]
    answer = acknowledgement(sent, Answer(code="AE", reason="bad_value OBX-5"), NOON).decode().split("\r")
    head = answer[0].split("#")
    assert head[:6] == ["MSH", r"@~\&", "EHR", "LAB", "LIS", "LAB"]
    assert (head[8], head[10], head[11]) == ("ACK@R01", "P", "2.5.1")
    assert answer[1] == "MSA#AE#7#bad_value OBX-5"


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (message("7", PID, OBR, obx("word")), "AE", "bad_value OBX-5"),
        (message("7", "PID|1||X^^^Q&9.9&ISO", OBR, obx()), "AE", "foreign_patient PID-3"),
        (message("7", OBR, obx()), "AE", "bad_segment PID"),
        (message("7", PID, OBR, obx(collected="2024-02-30")), "AE", "bad_time effective_at"),
        (message("7", PID, OBR, obx(status="")), "AE", "missing_field status"),
        (message("7", "PID|1", OBR, obx()), "AE", "missing_field patient_id"),
        (message("7", PID, "OBR|1|P9|A5", obx()), "AA", None),
        (message("7", kind="results"), "AR", "bad_segment MSH-9"),
        (b"what is this", "AR", "bad_segment MSH"),
        (b"", "AR", "bad_segment MSH"),
        (message("7", kind="SIU^S12"), "AA", None),
    ],
)
def test_a_bad_message_is_kept_too_and_its_sender_told_which_field(tmp_path, sent, code, reason):
    with listening(contract(), tmp_path) as port, Sender(port) as sender:
        _, answered, _, *text = sender.send(sent)
    assert (answered, text) == (code, [reason] if reason else [])
    assert len(kept(tmp_path)) == (1 if sent else 0)


def test_a_message_that_comes_again_is_answered_the_same_and_not_kept_again(tmp_path):
    with listening(contract(), tmp_path) as port:
        for _ in range(3):
            with Sender(port) as sender:
                assert sender.send(message("7"))[1] == "AA"
    with (
        listening(contract(), tmp_path) as port,
        Sender(port) as sender,
    ):  # it reads what lies there
        assert sender.send(message("7"))[1] == "AA"
    assert kept(tmp_path) == ["7"]


def test_what_was_taken_in_is_known_by_the_records(tmp_path, laboratory):
    laboratory.sends_bytes(message("7"))
    rows = laboratory.connection.execute(
        "select control_key, digest, sent_day, is_conflict from sent_message"
    ).fetchall()

    def known(keys):
        return [row for row in rows if row[0] in keys]

    with listening(contract(), tmp_path, known=known) as port, Sender(port) as sender:
        assert sender.send(message("7"))[1] == "AA"
        assert sender.send(message("7", PID, OBR, obx("9")))[1:] == ["AE", "7", "conflicting_message MSH-10"]
    assert kept(tmp_path) == ["7"]  # the one in conflict


def test_another_body_under_the_same_control_id_is_a_conflict_and_kept(tmp_path):
    with listening(contract(), tmp_path) as port, Sender(port) as sender:
        assert sender.send(message("7"))[1] == "AA"
        assert sender.send(message("7", PID, OBR, obx("9")))[1:] == ["AE", "7", "conflicting_message MSH-10"]
    assert kept(tmp_path) == ["7", "7"]


def test_a_conflict_is_told_as_often_as_it_comes_and_kept_once(tmp_path):
    with listening(contract(), tmp_path) as port, Sender(port) as sender:
        assert sender.send(message("7"))[1] == "AA"
        for _ in range(3):
            assert sender.send(message("7", PID, OBR, obx("9")))[1] == "AE"
        assert sender.send(message("7"))[1] == "AA"
    with listening(contract(), tmp_path) as port, Sender(port) as sender:  # it reads what lies there
        assert sender.send(message("7", PID, OBR, obx("9")))[1] == "AE"
    assert kept(tmp_path) == ["7", "7"]


def test_a_frame_without_a_header_is_no_part_of_the_message_before_it(home):
    feed = open_feed(home)
    strange = b"OBX|9|NM|2160-0^Creatinine^LN||3.1|mg/dL|||||F|||202403100800"
    with listening(feed.contract, feed.landing) as port, Sender(port) as sender:
        answers = [sender.send(sent)[1] for sent in (admission("p1"), result_of("p1", 0), strange)]
    assert answers == ["AA", "AA", "AR"]
    taken_in = feed.take_in()
    assert taken_in.quarantined == {"bad_segment": 1}
    assert feed.rows("select patient_id, value_number from versions", "observation") == [("lab/p1", 1.0)]
    with listening(feed.contract, feed.landing, known=feed.known) as port, Sender(port) as sender:
        assert sender.send(result_of("p1", 0))[1] == "AA"  # the same body as the ingest has read
    assert feed.take_in() is None


def test_a_live_message_that_was_sent_long_ago_is_known_when_it_comes_again(home):
    feed = open_feed(home)
    old = result_of("p1", 0).replace(b"20240311040000", b"20200311040000")
    with listening(feed.contract, feed.landing, known=feed.known) as port, Sender(port) as sender:
        assert [sender.send(sent)[1] for sent in (admission("p1"), old)] == ["AA", "AA"]
    assert feed.take_in().accounts["observation"].mapped == 1
    with listening(feed.contract, feed.landing, known=feed.known) as port, Sender(port) as sender:
        assert sender.send(old)[1] == "AA"
        assert sender.send(old.replace(b"1.000", b"2.000"))[1] == "AE"
    assert feed.take_in().quarantined == {"conflicting_message": 3}


def test_a_message_that_another_one_cuts_off_is_rejected_and_can_be_sent_again(tmp_path):
    with listening(contract(), tmp_path) as port, Sender(port) as sender:
        sender.socket.sendall(b"\x0b" + message("7")[:-20])
        assert sender.send(message("8"))[1:] == ["AR", "7", "another message began within the message"]
        assert [sender.send(message(control_id))[1] for control_id in ("7", "8")] == ["AA", "AA"]
    assert kept(tmp_path) == ["7", "8"]


def test_two_messages_in_one_frame_are_rejected(tmp_path):
    with listening(contract(), tmp_path) as port, Sender(port) as sender:
        assert sender.send(message("7") + message("8"))[1:] == ["AR", "7", "more than one message in a frame"]
    assert kept(tmp_path) == []


def test_an_answer_never_holds_a_word_of_the_message(tmp_path):
    secret = message("7", PID + "||SECRETNAME^HUGO", OBR, obx("SECRETVALUE"), "SECRETSEGMENT")
    with listening(contract(), tmp_path) as port, Sender(port) as sender:
        assert "SECRET" not in "|".join(sender.send(secret))


def test_many_senders_are_served_at_once_each_in_its_order(tmp_path):
    def send(port, number):
        with Sender(port) as sender:
            for place in range(20):
                assert sender.send(message(f"{number}-{place:02}"))[1] == "AA"

    with listening(contract(), tmp_path) as port:
        threads = [threading.Thread(target=send, args=(port, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = kept(tmp_path)
    assert len(found) == 160
    for number in range(8):
        assert [each for each in found if each.startswith(f"{number}-")] == [f"{number}-{p:02}" for p in range(20)]


def test_a_frame_that_never_ends_is_refused_within_its_bound(tmp_path):
    bounds = Bounds(longest_message=100_000)
    with listening(contract(), tmp_path, bounds=bounds) as port, Sender(port) as endless, Sender(port) as good:
        endless.socket.sendall(b"\x0b" + b"A" * 300_000)
        assert endless.answer()[1:] == ["AR", "", "the message is too long"]
        assert good.send(message("7"))[1] == "AA"
    assert kept(tmp_path) == ["7"]


def test_all_that_is_held_of_messages_that_are_not_whole_is_bounded(tmp_path):
    bounds = Bounds(longest_message=1 << 20, most_held=2 << 20)
    with listening(contract(), tmp_path, bounds=bounds) as port:
        senders = [Sender(port) for _ in range(6)]
        closed = 0
        for sender in senders:
            sender.socket.sendall(b"\x0b" + b"A" * 700_000)
        for sender in senders:
            sender.socket.settimeout(1)
            with suppress(TimeoutError):
                closed += sender.answer()[1] == "AR"
        with Sender(port) as good:
            assert good.send(message("7"))[1] == "AA"
        for sender in senders:
            sender.socket.close()
    assert closed >= 4


def test_five_hundred_slow_senders_are_let_go_while_good_ones_are_served(tmp_path):
    bounds = Bounds(message_seconds=3)
    with listening(contract(), tmp_path, bounds=bounds) as port:
        slow = [Sender(port) for _ in range(500)]
        started = time.monotonic()
        for sender in slow:
            sender.socket.sendall(b"\x0bMSH|")
        with Sender(port) as good:
            sent = 0
            while time.monotonic() - started < 1.5:  # a byte now and then must not buy more time
                assert good.send(message(f"g{sent}"))[1] == "AA"
                sent += 1
                slow[sent % 500].socket.sendall(b"^")
        refused = [sender.answer() for sender in slow]
        assert all(answer[1:] == ["AR", "", "the message did not end in time"] for answer in refused)
        for sender in slow:
            sender.socket.close()
    assert sent > 20
    assert len(kept(tmp_path)) == sent


def test_more_connections_than_the_bound_are_refused_and_the_others_served(tmp_path):
    bounds = Bounds(most_connections=2)
    with listening(contract(), tmp_path, bounds=bounds) as port, Sender(port) as first, Sender(port) as second:
        assert first.send(message("1"))[1] == second.send(message("2"))[1] == "AA"
        with Sender(port) as third, pytest.raises(ConnectionError):
            third.send(message("3"))
        assert first.send(message("4"))[1] == "AA"


def test_a_connection_that_breaks_within_a_message_leaves_nothing(tmp_path):
    with listening(contract(), tmp_path) as port:
        with Sender(port) as sender:
            sender.socket.sendall(b"\x0b" + message("7")[:60])
        with Sender(port) as sender:
            assert sender.send(message("8"))[1] == "AA"
    assert kept(tmp_path) == ["8"]


def test_a_full_disk_is_told_and_the_message_can_be_sent_again(tmp_path):
    class Full(Disk):
        is_full = True

        def append(self, file: int, data: bytes) -> None:
            if self.is_full:
                os.write(file, data[:10])
                raise OSError(28, "No space left on device")
            super().append(file, data)

    disk = Full()
    with inbox_of("lab", tmp_path, disk) as inbox:
        reception = Reception(contract(), inbox, nobody)
        assert b"MSA|AE|7|it could not be kept" in reception.take([Received(message=message("7"))], NOON)[0]
        disk.is_full = False
        assert b"MSA|AA|7" in reception.take([Received(message=message("7"))], NOON)[0]
    assert kept(tmp_path) == ["7"]


def test_one_that_comes_twice_at_once_to_a_full_disk_is_not_answered_as_taken(tmp_path):
    class Full(Disk):
        def sync(self, file: int) -> None:
            raise OSError(28, "No space left on device")

    with inbox_of("lab", tmp_path, Full()) as inbox:
        reception = Reception(contract(), inbox, nobody)
        answers = reception.take([Received(message=message("7")), Received(message=message("7"))], NOON)
        assert all(b"MSA|AE|7|it could not be kept" in answer for answer in answers)
    assert kept(tmp_path) == []


def test_after_half_a_message_that_cannot_be_taken_back_nothing_is_written(tmp_path):
    class Broken(Disk):
        def append(self, file: int, data: bytes) -> None:
            os.write(file, data[:10])
            raise OSError(5, "Input/output error")

        def cut(self, file: int, size: int) -> None:
            raise OSError(5, "Input/output error")

    with pytest.raises(EnvironmentFault, match="half kept"), inbox_of("lab", tmp_path, Broken()) as inbox:
        Reception(contract(), inbox, nobody).take([Received(message=message("7"))], NOON)
    assert kept(tmp_path) == []


def fill(landing, most, told):
    """Take messages in a process whose files can grow to so many bytes; tells how each was answered."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    with inbox_of("lab", landing) as inbox:
        reception = Reception(contract(), inbox, nobody)
        for number in range(100):
            [answer] = reception.take([Received(message=message(str(number)))], NOON)
            told.send((str(number), answer.split(b"MSA|")[-1][:2].decode()))
    told.send(None)


def test_on_a_disk_that_is_really_full_no_message_is_acknowledged_that_is_not_kept(tmp_path):
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=fill, args=(tmp_path, 10_000, there))
    process.start()
    answers = dict(iter(here.recv, None))
    process.join()
    taken = [control_id for control_id, code in answers.items() if code == "AA"]
    assert 10 < len(taken) < 90
    assert {*answers.values()} == {"AA", "AE"}
    assert kept(tmp_path) == taken


def test_a_listener_waits_for_an_ingest_that_holds_the_inbox_for_a_moment(tmp_path):
    with inbox_of("lab", tmp_path), pytest.raises(Refused), inbox_of("lab", tmp_path, patience=0.1):
        pass
    let_go = threading.Event()

    def hold() -> None:
        with inbox_of("lab", tmp_path):
            let_go.set()
            time.sleep(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    let_go.wait()
    with inbox_of("lab", tmp_path, patience=10):
        holder.join()


def test_one_process_listens_for_a_feed(tmp_path):
    with inbox_of("lab", tmp_path):
        another = inbox_of("lab", tmp_path)
        with pytest.raises(Refused, match="another process listens"):
            another.__enter__()


def test_what_a_crash_tore_is_cut_back_to_the_last_whole_message(tmp_path):
    torn = tmp_path / "lab" / ".inbox" / "open" / "20240301T120000000000.hl7"
    torn.parent.mkdir(parents=True)
    (torn.parent.parent / "sealed").mkdir()
    torn.write_bytes(b"\x0b" + message("7") + b"\x1c\r\x0b" + message("8")[:40])
    assert kept(tmp_path) == ["7"]


def test_while_nobody_takes_in_what_was_heard_the_files_do_not_grow_in_number(tmp_path):
    with inbox_of("lab", tmp_path) as inbox:
        for number in range(MOST_WAITING - 1):
            (inbox.sealed / f"20240301T000000{number:06}.hl7").write_bytes(framed(message(str(number))))
        reception = Reception(contract(), inbox, nobody)
        for number in range(3):
            reception.take([Received(message=message(f"late {number}"))], NOON)
            reception.seal()
        assert len(inbox.files()) == MOST_WAITING
        first, *_ = inbox.files()
        first.unlink()  # an ingest has taken it in
        reception.seal()
        assert not any((inbox.folder / "open").iterdir())
    assert kept(tmp_path)[-3:] == ["late 0", "late 1", "late 2"]


def test_a_clock_that_is_set_back_keeps_the_order(tmp_path):
    with inbox_of("lab", tmp_path) as inbox:
        for hour, control_id in ((12, "1"), (11, "2"), (10, "3")):
            inbox.append([message(control_id)], NOON.replace(hour=hour))
            inbox.seal()
    assert kept(tmp_path) == ["1", "2", "3"]
