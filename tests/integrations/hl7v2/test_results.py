"""What a laboratory message says, told on small messages: one result, its patient, its order and its times."""

import pytest

from integrations.tabular.staging import staged_columns
from tests.integrations.hl7v2.conftest import MSH, OBR, PID, PV1, obx


def test_a_result_comes_with_its_patient_stay_order_and_times(laboratory):
    assert laboratory.sends(MSH, PID, PV1, OBR, obx()).result == {
        "record_file": "oru.hl7",
        "record_line": 5,
        "problem": None,
        "problem_detail": None,
        "is_empty": False,
        "out_of_scope_reason": None,
        "patient_id": "M1",
        "effective_at": "20240301080000",
        "issued_at": "20240301110000",
        "is_retracted": False,
        "observation_id": "M1|A5|2160-0",
        "encounter_id": "e7",
        "category": "laboratory",
        "local_system": "LN",
        "local_code": "2160-0",
        "value_number": 1.2,
        "unit": "mg/dL",
        "comparator": None,
        "value_text": None,
        "value_code": None,
        "status": "final",
        "order_number": "A5",
    }


@pytest.mark.parametrize("table", ["observation", "patient_link"])
def test_the_staged_rows_have_the_columns_that_the_contract_step_reads(laboratory, table):
    names = laboratory.sends().connection.execute(f"describe staged_{table}").fetchall()
    assert {name: kind for name, kind, *_ in names} == staged_columns(table)
    assert [name for name, *_ in names] == list(staged_columns(table))


def test_each_result_and_each_patient_is_a_record_by_its_place_in_the_file(laboratory):
    message = (MSH, PID, OBR, obx(), "NTE|1||a word", obx(code="3094-0^Urea^LN"))
    laboratory.sends(*message, *message, name="night/oru.hl7")
    assert [(row["record_file"], row["record_line"]) for row in laboratory.results] == [
        ("night/oru.hl7", line) for line in (4, 6, 10, 12)
    ]
    assert [row["record_line"] for row in laboratory.links] == [2, 8]


def test_the_result_is_dated_by_itself_before_its_order(reads):
    assert reads("1", collected="20240301073000")["effective_at"] == "20240301073000"


def test_times_stay_as_sent(laboratory):
    row = laboratory.sends(MSH, PID, "OBR|1||A5||||202403010830-0600^S", obx()).result
    assert row["effective_at"] == "202403010830-0600"


def test_without_a_time_of_release_the_message_is_dated_by_its_sending(laboratory):
    assert laboratory.sends(MSH, PID, "OBR|1||A5", obx()).result["issued_at"] == "20240301120000"


def test_without_a_number_of_the_laboratory_the_number_of_who_ordered_counts(laboratory):
    row = laboratory.sends(MSH, PID, "OBR|1|P9", obx()).result
    assert (row["order_number"], row["observation_id"]) == ("P9", "M1|P9|2160-0")


def test_a_sub_id_tells_results_of_one_code_apart(reads):
    assert reads("1", sub_id="2")["observation_id"] == "M1|A5|2160-0|2"


def test_without_any_order_number_patient_and_time_stand_for_it(laboratory):
    row = laboratory.sends(MSH, PID, "OBR|1||||||20240301080000", obx(sub_id="2")).result
    assert (row["order_number"], row["observation_id"]) == (None, "M1|2160-0|20240301080000|2")


@pytest.mark.parametrize("patient", ["PID|1", PID])
def test_a_result_that_nothing_tells_apart_has_no_id(laboratory, patient):
    row = laboratory.sends(MSH, patient, obx()).result
    assert (row["problem"], row["problem_detail"], row["local_code"]) == ("missing_id", "OBR-3", "2160-0")


def test_a_correction_is_another_version_of_the_same_fact(laboratory):
    first, second = laboratory.sends(MSH, PID, OBR, obx("1.2"), MSH, PID, OBR, obx("1.4", status="C")).results
    assert first["observation_id"] == second["observation_id"]
    assert (second["status"], second["value_number"], second["is_retracted"]) == ("corrected", 1.4, False)


@pytest.mark.parametrize("status", ["D", "W"])
def test_a_deleted_or_wrong_result_withdraws_the_fact_even_without_a_value(reads, status):
    for value in ("1.2", "", "gone"):
        row = reads(value, status=status)
        assert (row["problem"], row["is_empty"], row["observation_id"]) == (None, False, "M1|A5|2160-0")
        assert (row["status"], row["is_retracted"]) == ("entered_in_error", True)


def test_a_corrected_result_without_a_value_does_not_pass_as_nothing_sent(reads):
    row = reads("", status="C")
    assert (row["is_empty"], row["value_number"], row["observation_id"]) == (False, None, "M1|A5|2160-0")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        *(("F", "final"), ("U", "final"), ("V", "final")),
        *(("P", "preliminary"), ("R", "preliminary"), ("S", "preliminary")),
        *(("C", "corrected"), ("A", "corrected"), ("B", "corrected")),
        ("", None),
    ],
)
def test_a_status_is_put_in_our_words(reads, sent, status):
    row = reads("1", status=sent)
    assert (row["status"], row["problem"]) == (status, None)


@pytest.mark.parametrize(
    ("status", "reason"), [("I", "pending"), ("X", "cancelled"), ("N", "not_asked"), ("O", "order_detail")]
)
def test_what_is_no_result_yet_or_never_is_out_of_scope(reads, status, reason):
    row = reads("", status=status)
    assert (row["is_empty"], row["out_of_scope_reason"], row["observation_id"]) == (True, reason, None)


def test_an_unknown_status_is_a_bad_value(reads):
    row = reads("1", status="Q")
    assert (row["problem"], row["problem_detail"], row["status"]) == ("bad_value", "OBX-11", None)


@pytest.mark.parametrize(
    ("sent", "code", "system"),
    [
        ("CREA^Creatinine^L^2160-0^Creatinine^LN", "CREA", "L"),
        ("^^^2160-0^Creatinine^LN", "2160-0", "LN"),
        ('""^^L^2160-0', "2160-0", None),
        ("CREA", "CREA", None),
    ],
)
def test_the_second_code_counts_only_where_the_first_is_empty(reads, sent, code, system):
    row = reads("1", code=sent)
    assert (row["local_code"], row["local_system"]) == (code, system)


def test_a_result_without_a_code_is_nobodys_fact(reads):
    row = reads("1", code="")
    assert (row["problem"], row["problem_detail"]) == ("missing_id", "OBX-3")


def test_stay_and_order_end_with_the_next_patient(laboratory):
    laboratory.sends(MSH, PID, PV1, OBR, obx(), "PID|2||M2^^^LAB&1.2.3&ISO^MR", obx(collected="20240301"))
    assert [(row["patient_id"], row["encounter_id"], row["order_number"]) for row in laboratory.results] == [
        ("M1", "e7", "A5"),
        ("M2", None, None),
    ]


def test_each_order_has_its_own_results(laboratory):
    laboratory.sends(MSH, PID, OBR, obx(), "OBR|2||A6", obx())
    first, second = laboratory.results
    assert (first["order_number"], first["effective_at"]) == ("A5", "20240301080000")
    assert (second["order_number"], second["effective_at"]) == ("A6", None)


def test_messages_of_another_kind_are_one_record_each_out_of_scope(laboratory):
    admitted = MSH.replace("ORU^R01^ORU_R01", "ADT^A01")
    laboratory.sends(admitted, PID, PV1, obx(), MSH.replace("ORU^R01^ORU_R01", "ACK"), MSH, PID, OBR, obx())
    assert [(row["record_line"], row["out_of_scope_reason"]) for row in laboratory.results] == [
        (1, "message ADT^A01"),
        (5, "message ACK"),
        (9, None),
    ]
    assert [row["record_line"] for row in laboratory.links] == [7]


@pytest.mark.parametrize("kind", ["ORU^R01", "ORU^^ORU_R01", "ORU"])
def test_results_are_known_by_any_way_to_write_their_type(laboratory, kind):
    assert laboratory.sends(MSH.replace("ORU^R01^ORU_R01", kind), PID, OBR, obx()).result["value_number"] == 1.2


def test_files_of_another_door_may_have_been_staged_before(laboratory):
    laboratory.connection.execute("create or replace temp view staged_observation as select 1 as other")
    laboratory.connection.execute("create or replace temp view staged_patient_link as select 1 as other")
    assert laboratory.sends(MSH, PID, OBR, obx()).result["patient_id"] == "M1"


def test_many_messages_are_read_in_batches(laboratory):
    count = 8_000
    laboratory.sends(*[MSH, PID, OBR, obx(), obx(code="3094-0"), obx(code="2823-3")] * count)
    counted = laboratory.connection.execute(
        "select count(*), count(distinct record_line), min(record_line), max(record_line) from staged_observation"
    ).fetchall()
    assert counted == [(3 * count, 3 * count, 4, 6 * count)]
    assert laboratory.connection.execute("select count(*) from staged_patient_link").fetchall() == [(count,)]
