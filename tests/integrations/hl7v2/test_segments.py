"""Files as segments: how they end, how they are numbered, and how their bytes are found again."""

import pytest

from integrations.hl7v2.segments import TOO_LONG, messages, segments, sent_segments
from tests.integrations.hl7v2.conftest import MSH, OBR, PID, obx

MESSAGE = (MSH, PID, OBR, obx())


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r\n\n"])
def test_segments_end_with_cr_lf_or_both(laboratory, end):
    laboratory.sends(*MESSAGE, *MESSAGE, end=end)
    assert [row["record_line"] for row in laboratory.results] == [4, 8]


def test_the_last_segment_may_have_no_end(laboratory):
    assert laboratory.sends_bytes("\r".join(MESSAGE).encode()).result["record_line"] == 4


def test_headers_of_files_and_batches_are_counted_and_are_no_records(laboratory):
    laboratory.sends(r"FHS|^~\&|LIS", r"BHS|^~\&|LIS", *MESSAGE, "BTS|1", r"BHS|^~\&|LIS", *MESSAGE, "BTS|1", "FTS|2")
    assert [row["record_line"] for row in laboratory.results] == [6, 12]
    assert [row["record_line"] for row in laboratory.links] == [4, 10]


def test_frames_of_the_wire_and_a_byte_order_mark_are_dropped(laboratory):
    framed = (
        b"\xef\xbb\xbf\x0b" + "\r".join(MESSAGE).encode() + b"\r\x1c\r\x0b" + "\r".join(MESSAGE).encode() + b"\x1c\r"
    )
    laboratory.sends_bytes(framed)
    assert [(row["record_line"], row["problem"]) for row in laboratory.results] == [(4, None), (8, None)]


def test_an_empty_file_has_no_records(laboratory):
    laboratory.sends()
    assert (laboratory.results, laboratory.links) == ([], [])


def test_the_bytes_of_a_record_are_found_by_its_number(laboratory):
    broken = obx().encode().replace(b"1.20", b"\xff")
    laboratory.sends("FHS", "", *MESSAGE[:3], broken, obx("2"), end="\r\n")
    (first, second) = laboratory.results
    file = laboratory.folder / "oru.hl7"
    found = sent_segments(file, {first["record_line"], second["record_line"], 99})
    assert [(each.number, each.head) for each in found] == [(5, broken), (6, obx("2").encode())]
    assert [each.head for each in sent_segments(file, [1])] == [b"FHS"]
    assert list(sent_segments(file, [])) == []


def test_results_that_are_written_alike_are_two_records_by_patient_or_order_and_one_when_sent_again(laboratory):
    other_patient, other_order = PID.replace("M1^", "M2^"), OBR.replace("|A5|", "|A6|")
    sent = [
        (MSH, PID, OBR),
        (MSH, other_patient, OBR),
        (MSH, PID, other_order),
        (MSH.replace("||P|", "|9|P|"), PID, OBR),
    ]
    laboratory.sends(*(segment for head in sent for segment in (*head, obx())))
    found = [each.sha256 for each in sent_segments(laboratory.folder / "oru.hl7", [4, 8, 12, 16])]
    assert len(set(found)) == 3
    assert found[0] == found[3]


def test_segments_are_whole_wherever_a_read_ends(tmp_path):
    file = tmp_path / "oru.hl7"
    file.write_bytes("\r\n".join(MESSAGE * 3).encode())
    for chunk in range(1, 60):
        assert list(segments(file, chunk_bytes=chunk)) == [segment.encode() for segment in MESSAGE * 3]


@pytest.mark.parametrize("last", [b"", b"\r", b"\rPID"])
def test_a_segment_without_end_does_not_fill_the_memory(tmp_path, last):
    file = tmp_path / "oru.hl7"
    file.write_bytes(b"MSH\rOBX" + b"x" * 500 + last)
    rest = [b"PID"] if b"PID" in last else []
    assert list(segments(file, chunk_bytes=16, longest=64)) == [b"MSH", TOO_LONG, *rest]


def test_a_segment_that_is_too_long_is_counted_as_bad(laboratory):
    laboratory.sends(MSH, PID, OBR, TOO_LONG)
    assert (laboratory.result["record_line"], laboratory.result["problem"]) == (4, "bad_segment")


def test_a_message_without_end_does_not_fill_the_memory(laboratory):
    laboratory.sends(*MESSAGE, obx("2"), *MESSAGE)
    found = messages(laboratory.folder / "oru.hl7", longest=4)
    assert [(first, len(message)) for first, message in found] == [(1, 4), (5, 1), (6, 4)]
