"""What is wrong is counted under its place and never read as somebody's result."""

import pytest

from tests.integrations.hl7v2.conftest import MSH, OBR, PID, PV1, obx


def told(rows):
    return [(row["record_line"], row["problem"], row["problem_detail"]) for row in rows]


def test_a_result_without_a_patient_before_it_is_bad(laboratory):
    laboratory.sends(MSH, OBR, obx(), PID, OBR, obx())
    assert told(laboratory.results) == [(3, "bad_segment", "PID"), (6, None, None)]


def test_the_patient_of_a_message_does_not_reach_into_the_next(laboratory):
    laboratory.sends(MSH, PID, OBR, obx(), MSH, OBR, obx())
    assert told(laboratory.results) == [(4, None, None), (7, "bad_segment", "PID")]
    assert laboratory.results[1]["patient_id"] is None


@pytest.mark.parametrize("broken", ["P?D|1||M2", "obx|1", "continued on the next line", "|", "OBXX|1|NM"])
def test_after_a_segment_that_cannot_be_read_results_are_nobodys_until_the_next_patient(laboratory, broken):
    laboratory.sends(MSH, PID, OBR, obx(), broken, obx(), PID, OBR, obx())
    assert told(laboratory.results) == [
        (4, None, None),
        (5, "bad_segment", "segment"),
        (6, "bad_segment", "PID"),
        (9, None, None),
    ]


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ("MSH", "MSH-2"),
        ("MSH|", "MSH-2"),
        ("MSH||x", "MSH-2"),
        ("MSH|^^^^|x", "MSH-2"),
        (r"MSHx^~\&x", "MSH-2"),
        (r"MSH|^ \&|LIS", "MSH-2"),
        (MSH.replace("ORU^R01^ORU_R01", ""), "MSH-9"),
        (MSH.replace("ORU^R01^ORU_R01", "R01"), None),
        (MSH.replace("ORU^R01^ORU_R01", "results"), "MSH-9"),
        (MSH.replace("ORU^R01^ORU_R01", "ORU^results"), "MSH-9"),
        (MSH.replace("UNICODE UTF-8", "ISO IR87"), "MSH-18"),
    ],
)
def test_nothing_of_a_message_without_a_readable_header_is_trusted(laboratory, header, detail):
    laboratory.sends(header, PID, PV1, OBR, obx(), "?", MSH, PID, OBR, obx())
    if detail is None:
        assert [row["out_of_scope_reason"] for row in laboratory.results] == ["message R01", None]
        return
    assert told(laboratory.results) == [
        *((line, "bad_segment", detail) for line in (1, 5, 6)),
        (10, None, None),
    ]
    assert told(laboratory.links) == [(2, "bad_segment", detail), (8, None, None)]


def test_what_stands_outside_of_a_message_is_counted_segment_by_segment(laboratory):
    laboratory.sends("a letter", PID, obx(), MSH, PID, OBR, obx(), "BTS|1", "more")
    assert told(laboratory.results) == [
        (1, "bad_segment", "MSH"),
        (3, "bad_segment", "MSH"),
        (7, None, None),
        (9, "bad_segment", "MSH"),
    ]
    assert told(laboratory.links) == [(2, "bad_segment", "MSH"), (5, None, None)]


def test_bytes_that_are_no_text_spoil_their_result_alone(laboratory):
    broken = obx().encode().replace(b"Creatinine", b"Cr\xe9atinine")
    laboratory.sends(MSH, PID, OBR, broken, obx())
    assert told(laboratory.results) == [(4, "bad_segment", "encoding"), (5, None, None)]
    row = laboratory.results[0]
    assert (row["patient_id"], row["local_code"], row["effective_at"]) == ("M1", "2160-0", "20240301080000")


@pytest.mark.parametrize(
    ("segment", "field", "detail"),
    [(PID, b"M1", "PID-3"), (PV1, b"e7", "PV1"), (OBR, b"A5", "OBR"), (OBR, b"20240301080000", "OBR")],
)
def test_bytes_that_are_no_text_spoil_the_results_of_the_patient_or_order_they_name(laboratory, segment, field, detail):
    sent = [each.encode() for each in (MSH, PID, PV1, OBR, obx())]
    broken = [raw.replace(field, b"\xff" + field) if raw == segment.encode() else raw for raw in sent]
    laboratory.sends(*broken, "OBR|2||A6", obx(), *sent)
    problem = (None, None) if detail == "OBR" else ("bad_segment", detail)
    assert told(laboratory.results) == [(5, "bad_segment", detail), (7, *problem), (12, None, None)]
    expected = ("bad_segment", "PID-3") if detail == "PID-3" else (None, None)
    assert told(laboratory.links) == [(2, *expected), (9, None, None)]


def test_bytes_that_are_no_text_elsewhere_do_no_harm(laboratory):
    laboratory.sends(MSH, PID.encode() + b"||M\xfcller", PV1.encode() + b"|\xff", b"NTE|1||\xff", OBR, obx())
    assert told(laboratory.results) == [(6, None, None)]
    assert told(laboratory.links) == [(2, None, None)]


@pytest.mark.parametrize(
    ("charset", "raw"),
    [
        ("8859/1", b"m\xfc\xdfig"),
        ("ISO 8859-1", b"m\xfc\xdfig"),
        ("8859/15~ISO IR87", b"m\xfc\xdfig"),
        ("UNICODE UTF-8", "müßig".encode()),
        ("unicode", "müßig".encode()),
        ("", "müßig".encode()),
        ("GB 18030-2000", "müßig".encode("gb18030")),
    ],
)
def test_text_is_read_in_the_character_set_that_the_message_names(laboratory, charset, raw):
    header = MSH.replace("UNICODE UTF-8", charset)
    sent = obx("WORDS", "ST").encode().replace(b"WORDS", raw)
    assert laboratory.sends(header, PID, OBR, sent).result["value_text"] == "müßig"


def test_what_is_declared_as_ascii_is_ascii(laboratory):
    laboratory.sends(MSH.replace("UNICODE UTF-8", "ASCII"), PID, OBR, obx("mg", "ST"), obx("µg", "ST"))
    assert told(laboratory.results) == [(4, None, None), (5, "bad_segment", "encoding")]


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8"])
def test_a_message_of_any_version_is_read(laboratory, version):
    laboratory.sends(MSH.replace("|2.5.1|", f"|{version}|"), PID, PV1, OBR, obx())
    assert told(laboratory.results) == [(5, None, None)]
