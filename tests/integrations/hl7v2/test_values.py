"""What stands in OBX-5, by its type: numbers with their comparator, ranges, words, codes, and what cannot be read."""

import pytest

from tests.integrations.hl7v2.conftest import MSH, OBR, PID, contract, obx

NUMBER = ("value_number", "comparator", "value_text", "value_code", "problem")


def told(row, *names):
    return tuple(row[name] for name in names)


@pytest.mark.parametrize(
    ("sent", "number", "comparator"),
    [
        ("1.20", 1.2, None),
        ("-0.5", -0.5, None),
        ("+3.", 3.0, None),
        (".5", 0.5, None),
        ("1.2E3", 1200.0, None),
        (" 7 ", 7.0, None),
        ("<0.5", 0.5, "<"),
        ("<= 0.5", 0.5, "<="),
        (">=90", 90.0, ">="),
        (">60", 60.0, ">"),
    ],
)
def test_a_number_may_have_a_comparator(reads, sent, number, comparator):
    assert told(reads(sent), *NUMBER) == (number, comparator, None, None, None)


@pytest.mark.parametrize("sent", ["hemolysed", "1,234", "1.2.3", "60~120", "nan", "inf", "1_000", "< ", "=5", "\u0661"])
def test_a_number_that_is_none_is_a_bad_value(reads, sent):
    row = reads(sent)
    assert told(row, "problem", "problem_detail", "value_number") == ("bad_value", "OBX-5", None)
    assert told(row, "patient_id", "local_code", "effective_at") == ("M1", "2160-0", "20240301080000")


@pytest.mark.parametrize(
    ("sent", "number", "comparator", "text"),
    [
        ("<^0.5", 0.5, "<", None),
        (">=^90", 90.0, ">=", None),
        ("^12", 12.0, None, None),
        ("=^12", 12.0, None, None),
        ("^100^-^200", None, None, "100-200"),
        ("^1^:^128", None, None, "1:128"),
        (">^1^:^128", None, None, ">1:128"),
        ("^2^+", None, None, "2+"),
        ("<>^5", None, None, "<>5"),
    ],
)
def test_a_structured_number_is_a_number_or_a_range_in_words(reads, sent, number, comparator, text):
    assert told(reads(sent, "SN"), *NUMBER) == (number, comparator, text, None, None)


@pytest.mark.parametrize("sent", ["<", "~^5", "^many", "^1^-^many", "^<5", "about^5"])
def test_a_structured_number_that_cannot_be_read_is_a_bad_value(reads, sent):
    assert told(reads(sent, "SN"), "problem", "problem_detail") == ("bad_value", "OBX-5")


@pytest.mark.parametrize("kind", ["ST", "TX", "FT", "DT", "TM", "TS", "DTM", "ID", "IS"])
def test_words_stay_words_as_sent(reads, kind):
    assert told(reads("not ^ seen", kind), *NUMBER) == (None, None, "not ^ seen", None, None)


def test_several_answers_are_joined(reads):
    assert reads("one~two~", "TX")["value_text"] == "one; two"
    assert told(reads("1^E. coli^L~2^K. oxytoca^L", "CWE"), "value_code", "value_text") == (
        "1; 2",
        "E. coli; K. oxytoca",
    )


@pytest.mark.parametrize("kind", ["CE", "CWE", "CNE", "CF"])
@pytest.mark.parametrize(
    ("sent", "code", "text"),
    [
        ("POS^Positive^L", "POS", "Positive"),
        ("POS", "POS", None),
        ("^^^10828004^Positive^SCT", "10828004", "Positive"),
        ("^^^^^^^^seen in two fields", None, "seen in two fields"),
    ],
)
def test_a_coded_answer_has_a_code_and_words(reads, kind, sent, code, text):
    assert told(reads(sent, kind), *NUMBER) == (None, None, text, code, None)


@pytest.mark.parametrize(
    ("sent", "kind"), [("", "NM"), ('""', "NM"), ("  ", "ST"), ("~", "TX"), ("^^L", "CWE"), ("", ""), ('""', "ZZ")]
)
def test_a_result_without_a_value_is_out_of_scope(reads, sent, kind):
    row = reads(sent, kind)
    assert told(row, "is_empty", "out_of_scope_reason", "problem", "observation_id") == (True, "no_value", None, None)


@pytest.mark.parametrize("kind", ["ED", "RP", "HD", "XCN"])
def test_documents_and_names_are_no_results(reads, kind):
    assert told(reads("x^y", kind), "is_empty", "out_of_scope_reason") == (True, "value_type")


@pytest.mark.parametrize("kind", ["", "NUMBER", "N"])
def test_a_value_of_no_known_type_is_a_bad_value(reads, kind):
    assert told(reads("1.2", kind), "problem", "problem_detail") == ("bad_value", "OBX-2")


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
        (r"\X41\\X4A4b\ done", "AJK done"),
        (r"\XC3A9\t\XC3A9\ ", "été"),
        (r"\H\high\N\ value", "high value"),
        (r"first\.br\second", "first\nsecond"),
        (r"\Q\ stays", r"\Q\ stays"),
        (r"\XFF\ stays", r"\XFF\ stays"),
        (r"\Xnn\ stays", r"\Xnn\ stays"),
        (r"C:\open", r"C:\open"),
    ],
)
def test_escapes_become_what_they_stand_for(reads, sent, text):
    assert reads(sent, "ST")["value_text"] == text


def test_escapes_are_read_in_units_codes_and_numbers_of_orders_too(laboratory):
    row = laboratory.sends(MSH, PID, r"OBR|1||A\T\5", obx(unit=r"10\S\3/uL^x", code=r"K\T\1^^L")).result
    assert told(row, "unit", "local_code", "observation_id") == ("10^3/uL", "K&1", "M1|A&5|K&1")


def test_the_delimiters_are_those_that_the_message_names(laboratory):
    header = "MSH*:;!/*LIS*LAB*EHR*LAB*20240301120000**ORU:R01*1*P*2.5.1"
    result = "OBX*1*CWE*K:Potassium:L**POS:a!S!b!F!c/d;NEG:e*mmol/L:x*****F"
    row = laboratory.sends(header, "PID*1**M0:::LAB:PI;M1:::LAB/1.2.3/ISO:MR", "OBR*1**A5", result).result
    assert told(row, "patient_id", "local_code", "unit") == ("M1", "K", "mmol/L")
    assert told(row, "value_code", "value_text") == ("POS; NEG", "a:b*c/d; e")
    assert [link["system"] for link in laboratory.links] == ["urn:oid:1.2.3", "LAB"]


def test_a_message_may_do_without_escapes_and_repetitions(laboratory):
    header = MSH.replace(r"^~\&", "^")
    laboratory.contract = contract(authorities=("LAB&1.2",))
    row = laboratory.sends(header, "PID|1||M1~2^^^LAB&1.2^MR", OBR, obx(r"a\F\b~c", "ST")).result
    assert told(row, "patient_id", "value_text") == ("M1~2", r"a\F\b~c")
    assert [link["system"] for link in laboratory.links] == ["urn:oid:1.2.3"]
