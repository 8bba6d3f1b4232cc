"""Whatever is sent, nothing raises and every record is counted."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.hl7v2.segments import segments
from tests.integrations.hl7v2.conftest import MSH, OBR, PID, PV1, Laboratory, contract, obx

REASONS = {None, "foreign_patient", "two_patients", "bad_segment", "bad_value", "missing_id"}
MESSAGE = (MSH, PID, PV1, OBR, obx(), obx(r"\F\word", "ST"), obx("<^5", "SN"), obx("A^b~C", "CWE"))
ADMISSION = (MSH.replace("ORU^R01^ORU_R01", "ADT^A01"), PID, PV1, obx())
SENT = "\r".join(("FHS|", *MESSAGE, *ADMISSION, *MESSAGE, "FTS|")).encode()
PIECES = [
    b"|",
    b"^",
    b"~",
    b"\\",
    b"&",
    b"\r",
    b"\n",
    b"\x00",
    b"\xff",
    b"\xef\xbf\xbd",
    b"MSH",
    b"PID|",
    b"OBX|",
    b'""',
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The file with some places cut out, overwritten or added to."""
    sent = SENT
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(sent)))
        end = start + draw(st.integers(0, 12))
        sent = sent[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=6)) + sent[end:]
    return sent


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=damaged() | st.binary(max_size=200))
def test_a_damaged_file_never_raises_and_loses_no_record(laboratory: Laboratory, sent: bytes) -> None:
    laboratory.sends_bytes(sent)
    results, links = laboratory.results, laboratory.links
    assert {row["problem"] for row in results + links} <= REASONS
    assert all((row["out_of_scope_reason"] is not None) == row["is_empty"] for row in results + links)
    found = list(segments(laboratory.folder / "oru.hl7"))
    expected = [row["record_line"] for row in results]
    assert len(set(expected)) == len(expected)
    _every_result_and_patient_is_counted(found, results, links)


def _every_result_and_patient_is_counted(
    found: list[bytes], results: list[dict[str, object]], links: list[dict[str, object]]
) -> None:
    """An OBX is a record, or belongs to a message that is left out as a whole; so is a PID."""
    left_out = {row["record_line"] for row in results if str(row["out_of_scope_reason"]).startswith("message ")}
    counted = {row["record_line"] for row in results}
    linked = {row["record_line"] for row in links}
    message = 0
    for line, segment in enumerate(found, 1):
        if segment.startswith(b"MSH"):
            message = line
        elif segment.startswith((b"FHS", b"BHS", b"BTS", b"FTS")):
            message = 0
        if segment.startswith(b"OBX") and message not in left_out:
            assert line in counted
        if segment.startswith(b"PID") and message not in left_out:
            assert line in linked | counted


def test_no_sample_of_other_senders_raises_and_each_is_counted(laboratory, needs_shared):
    samples = sorted(Path(needs_shared("data/hl7v2")).glob("*.hl7"))
    assert len(samples) == 64
    # The two senders of results: one names its authority by OID, the other calls it `1`.
    laboratory.contract = contract(authorities=("1",), system="urn:oid:2.16.840.1.114222.4.3.3.5.1.2")
    results = 0
    for sample in samples:
        rows = laboratory.sends_bytes(sample.read_bytes(), sample.name).results
        assert rows
        assert "bad_segment" not in {row["problem"] for row in rows}
        results += sum(1 for row in rows if not row["is_empty"] and row["problem"] is None)
    assert results == 9
