"""The same message twice is counted and read once; another body under the same control id is a conflict."""

from datetime import date

from integrations.hl7v2.control import new_messages
from tests.integrations.hl7v2.conftest import MSH, OBR, PID, contract, obx


def header(control_id, sender="LIS", at="20240301120000"):
    return MSH.replace("||P|", f"|{control_id}|P|").replace("|LIS|", f"|{sender}|").replace("20240301120000", at)


def outcomes(laboratory):
    return [row["out_of_scope_reason"] or row["problem"] for row in laboratory.results]


def keys(laboratory):
    """What the records keep of an extract."""
    return [tuple(row.values()) for row in new_messages(laboratory.connection, "lab-1", date(2024, 1, 1))]


def test_a_message_that_comes_twice_is_read_once(laboratory):
    laboratory.sends(header("7"), PID, OBR, obx(), header("8"), PID, OBR, obx("2"), header("7"), PID, OBR, obx())
    assert outcomes(laboratory) == [None, None, "repeated_message"]


def test_another_body_under_the_same_control_id_is_a_conflict(laboratory):
    laboratory.sends(header("7"), PID, OBR, obx(), header("7"), PID, OBR, obx("9"))
    assert [(row["record_line"], row["problem"], row["problem_detail"]) for row in laboratory.results] == [
        (4, None, None),
        (5, "conflicting_message", "MSH-10"),
        (8, "conflicting_message", "MSH-10"),
    ]
    assert [row["problem"] for row in laboratory.links] == [None, "conflicting_message"]


def test_control_ids_of_two_senders_are_two(laboratory):
    laboratory.sends(header("7"), PID, OBR, obx(), header("7", sender="BLOODGAS"), PID, OBR, obx("9"))
    assert outcomes(laboratory) == [None, None]


def test_a_sender_may_begin_to_count_anew_after_a_while(laboratory):
    laboratory.sends(header("7"), PID, OBR, obx(), header("7", at="20240401120000"), PID, OBR, obx("9"))
    assert outcomes(laboratory) == [None, None]
    laboratory.contract = contract(control_ids_unique_for="60d")
    laboratory.sends(header("7"), PID, OBR, obx(), header("7", at="20240401120000"), PID, OBR, obx("9"))
    assert "conflicting_message" in outcomes(laboratory)


def test_what_came_in_an_earlier_extract_is_known(laboratory):
    laboratory.sends(header("7"), PID, OBR, obx())
    laboratory.known = keys(laboratory)
    laboratory.sends(header("7"), PID, OBR, obx(), header("9"), PID, OBR, obx("3"))
    assert outcomes(laboratory) == ["repeated_message", None]
    laboratory.sends(header("7"), PID, OBR, obx("2"))
    assert set(outcomes(laboratory)) == {"conflicting_message"}


def test_a_conflict_that_comes_again_is_set_aside_once(laboratory):
    first, other = (header("7"), PID, OBR, obx()), (header("7"), PID, OBR, obx("9"))
    laboratory.sends(*first, *other, *other)
    assert outcomes(laboratory) == [None, "conflicting_message", "conflicting_message", "repeated_conflict"]
    laboratory.known = keys(laboratory)
    laboratory.sends(*other, *first)
    assert outcomes(laboratory) == ["repeated_conflict", "repeated_message"]


def test_of_history_only_the_messages_of_late_are_kept_in_mind(laboratory):
    laboratory.sends(header("7", at="20230301120000"), PID, OBR, obx(), header("8"), PID, OBR, obx("2"))
    assert len(new_messages(laboratory.connection, "lab-1", date(2024, 2, 23))) == 1
    assert len(new_messages(laboratory.connection, "lab-1", None)) == 2


def test_messages_without_a_control_id_are_always_new(laboratory):
    laboratory.sends(MSH, PID, OBR, obx(), MSH, PID, OBR, obx())
    assert outcomes(laboratory) == [None, None]


def test_segment_ends_are_no_part_of_a_body(laboratory):
    laboratory.sends_bytes(
        "\r".join([header("7"), PID, OBR, obx()]).encode()
        + b"\r\n"
        + "\n".join([header("7"), PID, OBR, obx()]).encode()
    )
    assert outcomes(laboratory) == [None, "repeated_message"]
