"""python-hl7 and hl7apy read the same messages: what we make of a field is what they make of it."""

from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.hl7v2.header import read_header
from integrations.hl7v2.segments import messages
from tests.integrations.hl7v2.conftest import MSH, OBR, PID, Laboratory, obx
from tests.integrations.hl7v2.test_samples import AUTHORITIES, SYSTEMS, contract

WITH_RESULTS = ("LAB-ORU-1.hl7", "ORU-R01-01.hl7", "OUL-R22-01.hl7", "OUL-R23-01.hl7", "OUL-R24-01.hl7")


def sent(sample: Path) -> str:
    """One message as both oracles want it: segments ended by CR."""
    [(_, segments)] = messages(sample)
    return b"\r".join(segments).decode("utf-8", errors="replace") + "\r"


@pytest.mark.parametrize("name", WITH_RESULTS)
def test_python_hl7_finds_the_same_results_in_the_messages_of_others(laboratory, needs_shared, name):
    sample = Path(needs_shared("data/hl7v2")) / name
    laboratory.contract = contract(authorities=AUTHORITIES, system=SYSTEMS.get(name, "2.16.1"))
    rows = laboratory.sends_bytes(sample.read_bytes(), name).results
    theirs = list(hl7.parse(sent(sample)).segments("OBX"))
    assert len(rows) == len(theirs)
    for row, segment in zip(rows, theirs, strict=True):
        if not row["is_empty"] and row["problem"] is None:
            assert row["local_code"] == str(segment(3)(1)(1))
            if row["value_number"] is not None and str(segment(2)) == "NM":
                assert row["value_number"] == float(str(segment(5)))


def test_hl7apy_reads_the_same_header_and_patient_of_every_message_it_can_read(needs_shared):
    read = 0
    for sample in sorted(Path(needs_shared("data/hl7v2")).glob("*.hl7")):
        text = sent(sample)
        try:
            theirs: Any = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=False)
        except HL7apyException:
            continue  # it knows fewer versions and structures than are sent
        ours = read_header(text.split("\r")[0].encode())
        assert ours.control_id == (theirs.msh.msh_10.to_er7() or None)
        assert ours.message_type == "^".join(theirs.msh.msh_9.to_er7().split("^")[:2])
        assert ours.sent_at == theirs.msh.msh_7.to_er7().split("^")[0]
        read += 1
    print(f"{read} of 64 messages read by hl7apy")
    assert read >= 60


PLAIN = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x7f\x85\xa0\xad"), min_size=1)
SIGNS = st.sampled_from(["|^~\\&", "#^~\\&", "|@~\\&", "$%~?*"])


def escaped(text: str, signs: str) -> str:
    """A text as a sender writes it whose delimiters these are."""
    names = dict(zip(signs, "FSRET", strict=True))
    return "".join(f"{signs[3]}{names[char]}{signs[3]}" if char in names else char for char in text)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=PLAIN, signs=SIGNS)
def test_python_hl7_and_we_read_an_escaped_text_as_it_was_meant(laboratory: Laboratory, text: str, signs: str) -> None:
    lines = [line.replace("|", "\0").replace("^", signs[1]).replace("&", signs[4]) for line in (PID, OBR)]
    head = MSH.replace("|", "\0").replace(r"^~\&", "\1").replace("^", signs[1]).replace("\1", signs[1:])
    result = obx("\1", "ST").replace("|", "\0").replace("^", signs[1]).replace("\1", escaped(text, signs))
    message = "\r".join([head, *lines, result]).replace("\0", signs[0])
    theirs = hl7.parse(message)
    assert theirs.unescape(str(theirs.segment("OBX")(5))) == text
    expected = None if text == '""' else text
    assert laboratory.sends_bytes(message.encode()).result["value_text"] == expected
