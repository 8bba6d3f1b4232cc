"""Bad input: set aside with reason, place and bytes; the rest goes on, and the account balances."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select

from integrations.ingest import REASONS
from integrations.records.schema import quarantine
from tests.integrations.ingest.conftest import Line, Ward, blood_pressure, coded, encounter, patient, result

BAD_RESULTS: dict[str, tuple[Line, str]] = {
    "a line that is no JSON": ('{"resourceType":"Observation","id":"o9",', "not_json"),
    "a line that is no text": (b'{"resourceType":"Observation","id":"\xff"}\n', "not_json"),
    "another kind of resource": (patient("p9"), "wrong_type"),
    "no id": ({name: value for name, value in result().items() if name != "id"}, "missing_id"),
    "no patient": (result("o9") | {"subject": None}, "missing_field"),
    "no status": (result("o9") | {"status": None}, "missing_field"),
    "a date that is none": (result("o9", effectiveDateTime="2024-02-30T10:00:00Z"), "bad_time"),
    "a date without a time": (result("o9", effectiveDateTime="2024-03-02"), "bad_time"),
    "a month": (result("o9", effectiveDateTime="2024-03"), "bad_time"),
    "a time before 1900": (result("o9", effectiveDateTime="1024-03-02T10:00:00Z"), "impossible_time"),
    "a time after receipt": (result("o9", effectiveDateTime="2024-03-12T10:00:00Z"), "impossible_time"),
    "a time before Christ": (result("o9", effectiveDateTime="-2024-03-02T10:00:00Z"), "impossible_time"),
    "a time before Christ of another fault": (
        result("o9", issued="-2024-03-02T10:00:00Z") | {"status": None},
        "missing_field",
    ),
    "a time in ten thousand years": (result("o9", effectiveDateTime="12024-03-02T10:00:00Z"), "impossible_time"),
    "a time without end": (result("o9", effectiveDateTime="infinity and so on"), "bad_time"),
    "a value in words where a number belongs": (result("o9", valueQuantity=None, valueString="clotted"), "bad_value"),
    "an impossible value": (result("o9", 51), "impossible_value"),
    "a code that the contract does not know": (result("o9", code="1111-1"), "unknown_code"),
    "a unit that the contract does not know": (result("o9", unit="g/L"), "unknown_unit"),
    "no unit where one belongs": (result("o9", valueQuantity={"value": 1.0}), "unknown_unit"),
}


def test_a_bad_record_is_quarantined_with_its_reason_place_and_bytes_and_the_rest_goes_on(open_ward: Ward) -> None:
    lines = [line for line, _ in BAD_RESULTS.values()]
    done = open_ward.send(night=1, Observation=[result("o1"), *lines, result("o2")])

    with open_ward.records.read() as db:
        rows = db.execute(select(quarantine).order_by(quarantine.c.source_line)).all()
    found = dict(zip(BAD_RESULTS, [row.reason for row in rows], strict=True))
    assert found == {name: reason for name, (_, reason) in BAD_RESULTS.items()}
    assert [(row.source_file, row.source_line) for row in rows] == [
        ("Observation.ndjson", number) for number in range(2, len(lines) + 2)
    ]
    assert [row.bytes for row in rows] == [_bytes(line) for line in lines]
    account = done.accounts["observation"]
    assert (account.received, account.mapped, account.quarantined) == (len(lines) + 2, 2, len(lines))
    assert done.quarantined == dict(sorted(Counter(found.values()).items()))
    assert open_ward.rows("select observation_id from observation order by 1") == [("ward/o1",), ("ward/o2",)]


def test_every_reason_is_of_the_closed_list() -> None:
    assert {reason for _, reason in BAD_RESULTS.values()} <= REASONS.keys()


def test_a_quarantined_value_keeps_patient_code_and_time_so_that_features_can_be_held(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o9", 5000)])
    with open_ward.records.read() as db:
        [row] = db.execute(select(quarantine)).all()
    assert (row.patient_id, row.code) == ("ward/p1", "2160-0")
    assert row.effective_at.isoformat() == "2024-03-02T16:00:00+00:00"


def test_no_message_about_a_quarantined_record_carries_a_value(open_ward: Ward) -> None:
    open_ward.send(night=1, Observation=[result("o9", 5151.5), result("o8", unit="secret")])
    with open_ward.records.read() as db:
        details = [row.detail for row in db.execute(select(quarantine)).all()]
    assert details == ["value", "unit"]


def test_an_extreme_value_is_kept_and_flagged(open_ward: Ward) -> None:
    sent = [(15.0, "mg/dL"), (15.1, "mg/dL"), (50.0, "mg/dL"), (1500, "umol/L")]
    done = open_ward.send(night=1, Observation=[result(f"o{n}", *value) for n, value in enumerate(sent)])
    assert done.quarantined == {}
    assert open_ward.rows("select is_extreme from observation order by observation_id") == [
        (False,),
        (True,),
        (True,),
        (True,),
    ]


def test_units_as_sent_become_the_one_unit_of_the_analyte(open_ward: Ward) -> None:
    fever = result("o2", 104, "[degF]", code="8310-5")
    open_ward.send(night=1, Observation=[result("o1", 88.42, "umol/L"), fever])
    assert open_ward.rows("select code, round(value_number, 6), unit from observation order by 1") == [
        ("2160-0", 1.0, "mg/dL"),
        ("8310-5", 40.0, "Cel"),
    ]


def test_a_record_with_one_bad_value_is_set_aside_as_a_whole_and_both_its_codes_are_known(open_ward: Ward) -> None:
    done = open_ward.send(night=1, Observation=[blood_pressure("b1", 120, 80), blood_pressure("b2", 120, 800)])
    assert (done.accounts["observation"].mapped, done.accounts["observation"].quarantined) == (1, 1)
    assert open_ward.rows("select count(*) from observation") == [(2,)]
    with open_ward.records.read() as db:
        rows = db.execute(select(quarantine.c.code, quarantine.c.reason).order_by(quarantine.c.code)).all()
    assert [tuple(row) for row in rows] == [("8462-4", "impossible_value"), ("8480-6", "impossible_value")]


def test_a_code_declared_out_of_scope_is_counted_by_code_and_needs_no_unit(open_ward: Ward) -> None:
    done = open_ward.send(night=1, Observation=[result("o1", code="9999-9", unit="whatever"), result("o2")])
    assert done.accounts["observation"].out_of_scope == 1
    assert open_ward.report("observation")["out_of_scope"] == 1


def test_files_out_of_scope_are_counted_and_an_unknown_file_refuses_the_extract(open_ward: Ward) -> None:
    from integrations.errors import Refused

    done = open_ward.send(night=1, Observation=[result()], Practitioner=[patient("x"), patient("y")])
    assert done.accounts["none"].out_of_scope == 2
    with pytest.raises(Refused, match=r"does not know the file Allergy.ndjson"):
        open_ward.send(night=2, Allergy=[patient("x")])


CREATININE_IN_UMOL = [70, 90, 110, 65, 80, 44]


def test_creatinine_in_umol_labelled_mg_is_caught_as_a_batch_even_where_a_value_looks_possible(open_ward: Ward) -> None:
    labelled = [result(f"o{n}", value, "mg/dL") for n, value in enumerate(CREATININE_IN_UMOL)]
    done = open_ward.send(night=1, Observation=[*labelled, result("k1", 4.0, "mmol/L", code="2823-3")])
    assert done.quarantined == {"impossible_value": 5, "suspect_batch": 1}
    assert open_ward.rows("select code from observation") == [("2823-3",)]


def test_in_a_small_batch_half_of_it_impossible_is_enough(open_ward: Ward) -> None:
    in_umol = [result(f"o{n}", value) for n, value in enumerate([70, 90, 110, 65, 49, 45, 40])]
    done = open_ward.send(night=1, Observation=[*in_umol, result("k1", 4.0, "mmol/L", code="2823-3")])
    assert done.quarantined == {"impossible_value": 4, "suspect_batch": 3}
    assert open_ward.rows("select code from observation") == [("2823-3",)]


@pytest.mark.parametrize(("impossible", "possible"), [(1, 1), (2, 3), (4, 5), (5, 21)])
def test_a_few_impossible_values_do_not_make_a_batch_suspect(open_ward: Ward, impossible: int, possible: int) -> None:
    lines = [result(f"o{n}", 70 if n < impossible else 1.0) for n in range(impossible + possible)]
    assert open_ward.send(night=1, Observation=lines).quarantined == {"impossible_value": impossible}


def of_patients(values: Sequence[float], patients: int, **more: Any) -> dict[str, list[dict[str, Any]]]:
    """Glucoses of so many patients in turn, with the patients."""
    people = [patient(f"g{n}") for n in range(patients)]
    labelled = [
        result(f"o{n}", value, "mg/dL", of=f"g{n % patients}", stay=None, code="2345-7", **more)
        for n, value in enumerate(values)
    ]
    return {"Patient": people, "Observation": labelled}


def test_glucose_in_mmol_labelled_mg_is_caught_though_no_value_is_impossible(open_ward: Ward) -> None:
    done = open_ward.send(night=1, **of_patients([4 + n / 5 for n in range(40)], patients=8))
    assert done.quarantined == {"suspect_batch": 40}
    assert done.accounts["observation"].balances


@pytest.mark.parametrize(
    ("values", "patients"),
    [
        ([700], 1),
        ([700, 100], 2),
        ([700] * 20, 1),
        ([700] * 20, 4),
        ([700] * 4, 4),
        ([700] * 5 + [100] * 3, 8),
    ],
)
def test_the_sickest_patients_are_extreme_and_kept(open_ward: Ward, values: list[float], patients: int) -> None:
    done = open_ward.send(night=1, **of_patients(values, patients))
    assert done.quarantined == {}
    assert open_ward.rows("select count(*) filter (is_extreme) from observation") == [(values.count(700),)]


def test_extremes_of_two_thirds_of_the_values_and_five_patients_make_a_batch_suspect(open_ward: Ward) -> None:
    done = open_ward.send(night=1, **of_patients([700] * 6 + [100] * 3, patients=9))
    assert done.quarantined == {"suspect_batch": 9}


def test_a_stay_with_impossible_times_is_quarantined_and_what_belongs_to_it_waits(open_ward: Ward) -> None:
    turned_round = {"start": "2024-03-05T08:00:00Z", "end": "2024-03-04T08:00:00Z"}
    stays = [
        encounter("e2", status="finished", period=turned_round),
        encounter("e3", period={"start": "2024-03-05"}),
        encounter("e4", period={}),
    ]
    done = open_ward.send(night=1, Encounter=stays, Observation=[result("o1", stay="e2")])
    assert done.quarantined == {"bad_time": 1, "impossible_time": 1, "missing_field": 1}
    assert done.accounts["observation"].waiting == 1


def test_a_date_alone_is_in_order_only_where_the_contract_says_so(open_ward: Ward) -> None:
    done = open_ward.send(
        night=1,
        Procedure=[coded("Procedure", "x1", "1", performedDateTime="2024-03-02")],
        Condition=[coded("Condition", "c1", "1", onsetDateTime="2024-03-02")],
    )
    assert done.quarantined == {"bad_time": 1}
    assert open_ward.rows("select effective_at::varchar from procedure") == [("2024-03-03 05:59:59.999999+00",)]


def test_a_time_without_offset_is_read_in_the_time_zone_of_the_feed(open_ward: Ward) -> None:
    summer = result("o2", effectiveDateTime="2024-03-10T10:00:00", issued="2024-03-10T11:00:00Z")
    open_ward.send(night=1, Observation=[result("o1", effectiveDateTime="2024-03-02T10:00:00"), summer])
    assert open_ward.rows("select effective_at::varchar from observation order by 1") == [
        ("2024-03-02 16:00:00+00",),
        ("2024-03-10 15:00:00+00",),
    ]


def test_the_same_bad_record_sent_again_counts_in_each_account_and_is_one_record(open_ward: Ward) -> None:
    for night in (1, 2):
        done = open_ward.send(night=night, Observation=[result("o9", 5000), result(f"o{night}")])
        assert done.accounts["observation"].quarantined == 1
    report = open_ward.report("observation")
    assert (report["quarantined"], report["records"]) == (1, 3)


def _bytes(line: Line) -> bytes:
    if isinstance(line, bytes):
        return line.rstrip(b"\n")
    return (line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))).encode()
