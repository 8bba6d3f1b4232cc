"""Admissions (ADT): each message tells of one event, each row how the stay stands after it."""

from datetime import date

import pytest

from integrations.ingest import ingest
from tests.integrations.hl7v2.conftest import ALL_TABLES, MSH, PID, contract, obx
from tests.integrations.hl7v2.feed import open_feed

STAY = ("class", "admission_type", "admission_source", "started_at", "ended_at", "discharge_disposition", "service")


@pytest.fixture
def registry(laboratory):
    laboratory.contract = contract(*ALL_TABLES)
    return laboratory


def message(trigger, at="20240301080000", pid=PID, **visit):
    """The segments of one message of patient M1 and stay V1."""
    return [
        MSH.replace("ORU^R01^ORU_R01", f"ADT^{trigger}").replace("20240301120000", at),
        f"EVN||{at}",
        pid,
        pv1(**visit),
    ]


def pv1(number="V1", ward="4W^12^A", patient_class="I", **fields):
    """PV1 with some of its fields, by number: `f44` is PV1-44."""
    sent = {2: patient_class, 3: ward, 19: number, **{int(name[1:]): value for name, value in fields.items()}}
    return "|".join(["PV1", *(sent.get(place, "") for place in range(1, 53))])


def stays(registry):
    return [{name: row[name] for name in STAY if row[name] is not None} for row in registry.rows("encounter")]


def wards(registry):
    return [
        (row["ward"], row["started_at"], row["ended_at"], row["is_retracted"])
        for row in registry.rows("encounter_location")
        if not row["is_empty"]
    ]


ADMITTED = message("A01", f4="E", f14="7", f10="MED", f44="20240301073000")


def test_an_admission_is_a_stay_of_the_patient(registry):
    registry.sends(*ADMITTED)
    (row,) = registry.rows("encounter")
    assert (row["encounter_id"], row["patient_id"], row["effective_at"]) == ("V1", "M1", "20240301073000")
    assert stays(registry) == [
        {
            "class": "inpatient",
            "admission_type": "emergency",
            "admission_source": "emergency_department",
            "started_at": "20240301073000",
            "service": "MED",
        }
    ]
    assert wards(registry) == [("4W", "20240301073000", None, False)]


def test_without_an_admission_time_the_event_says_when_it_began(registry):
    registry.sends(*message("A01", at="20240301081500"))
    assert stays(registry)[0]["started_at"] == "20240301081500"


def test_what_a_later_message_does_not_say_stays_as_it_was(registry):
    registry.sends(*ADMITTED, *message("A08", at="20240302080000", f10="SUR"))
    first, second = stays(registry)
    assert second == {**first, "service": "SUR"}


def test_a_field_that_is_taken_back_is_gone(registry):
    registry.sends(*ADMITTED, *message("A08", f10='""'))
    assert "service" not in stays(registry)[1]


def test_a_transfer_ends_the_stay_in_one_ward_and_begins_one_in_the_next(registry):
    registry.sends(*ADMITTED, *message("A02", at="20240302100000", ward="ICU^1"))
    assert wards(registry) == [
        ("4W", "20240301073000", None, False),
        ("4W", "20240301073000", "20240302100000", False),
        ("ICU", "20240302100000", None, False),
    ]


def test_a_transfer_within_a_ward_changes_nothing(registry):
    registry.sends(*ADMITTED, *message("A02", at="20240302100000", ward="4W^14^B"))
    assert len(wards(registry)) == 1
    assert [row["out_of_scope_reason"] for row in registry.rows("encounter_location")] == [None, "no_change_of_ward"]


def test_a_cancelled_transfer_puts_the_patient_back(registry):
    registry.sends(*ADMITTED, *message("A02", at="20240302100000", ward="ICU"), *message("A12", at="20240302110000"))
    assert wards(registry)[3:] == [
        ("ICU", "20240302100000", None, True),
        ("4W", "20240301073000", None, False),
    ]


def test_a_discharge_ends_the_stay_and_its_ward(registry):
    registry.sends(*ADMITTED, *message("A03", at="20240305120000", f36="20", f45="20240305113000"))
    assert stays(registry)[1]["ended_at"] == "20240305113000"
    assert stays(registry)[1]["discharge_disposition"] == "died"
    assert wards(registry)[1:] == [("4W", "20240301073000", "20240305113000", False)]


def test_a_discharge_without_a_time_was_when_it_happened(registry):
    registry.sends(*ADMITTED, *message("A03", at="20240305120000", f36="01"))
    assert stays(registry)[1]["ended_at"] == "20240305120000"


def test_a_cancelled_discharge_leaves_the_patient_in_the_house(registry):
    registry.sends(*ADMITTED, *message("A03", at="20240305120000", f36="01"), *message("A13", at="20240305130000"))
    assert stays(registry)[2] == stays(registry)[0]
    assert wards(registry)[2:] == [("4W", "20240301073000", None, False)]


def test_a_cancelled_admission_takes_the_stay_back(registry):
    registry.sends(*ADMITTED, *message("A11", at="20240301090000"))
    assert [row["is_retracted"] for row in registry.rows("encounter")] == [False, True]
    assert wards(registry)[1:] == [("4W", "20240301073000", None, True)]


def test_an_emergency_visit_that_becomes_an_admission_is_one_stay(registry):
    registry.sends(
        *message("A04", ward="ED", patient_class="E", f44="20240301073000"),
        *message("A06", at="20240301120000", patient_class="I", ward="4W"),
    )
    assert [stay["class"] for stay in stays(registry)] == ["emergency", "inpatient"]
    assert wards(registry)[1:] == [
        ("ED", "20240301073000", "20240301120000", False),
        ("4W", "20240301120000", None, False),
    ]


def test_an_admission_that_is_only_planned_is_no_stay_yet(registry):
    registry.sends(*message("A05", patient_class="P"))
    assert [row["out_of_scope_reason"] for row in registry.rows("encounter")] == ["not_admitted_yet"]
    assert [row["patient_id"] for row in registry.rows("patient")] == ["M1"]


def test_a_stay_goes_on_as_the_lake_knows_it(registry):
    registry.connection.execute(
        """
        insert into taken_up_encounter by name
        select 'lab/V1' as encounter_id, 'inpatient' as class, 'elective' as admission_type, false as is_retracted,
            timestamptz '2024-02-27 08:00:00+00' as started_at, timestamptz '2024-02-27 08:00:00+00' as available_at;
        insert into taken_up_encounter_location by name
        select 'lab/V1' as encounter_id, 'lab/V1|9E|x' as location_id, '9E' as ward, false as is_retracted,
            timestamptz '2024-02-27 08:00:00+00' as started_at, timestamptz '2024-02-27 08:00:00+00' as available_at
        """
    )
    try:
        registry.sends(*message("A02", at="20240302100000", ward="ICU"))
    finally:
        registry.connection.execute("delete from taken_up_encounter; delete from taken_up_encounter_location")
    began = "20240227080000.000000+0000"
    assert stays(registry) == [{"class": "inpatient", "admission_type": "elective", "started_at": began}]
    assert [(row["location_id"], row["ended_at"]) for row in registry.rows("encounter_location")] == [
        ("V1|9E|x", "20240302100000"),
        ("V1|ICU|20240302100000", None),
    ]


@pytest.mark.parametrize(
    ("visit", "detail"),
    [
        ({"patient_class": "X"}, "PV1-2"),
        ({"f4": "?"}, "PV1-4"),
        ({"f14": "the street"}, "PV1-14"),
        ({"f36": "99"}, "PV1-36"),
    ],
)
def test_a_word_that_nobody_knows_stops_its_row(registry, visit, detail):
    registry.sends(*message("A01", **visit))
    assert [(row["problem"], row["problem_detail"]) for row in registry.rows("encounter")] == [("bad_value", detail)]


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [({"f44": "yesterday"}, "started_at"), ({"f45": "2024"}, "ended_at"), ({"at": "20241301"}, "EVN-2")],
)
def test_a_time_that_nobody_can_read_stops_its_row_and_no_later_one(registry, wrong, detail):
    registry.sends(*message("A01", **wrong), *message("A01", f44="20240301073000"))
    first, second = registry.rows("encounter")
    assert (first["problem"], first["problem_detail"]) == ("bad_time", detail)
    assert (second["problem"], second["started_at"], second["ended_at"]) == (None, "20240301073000", None)


def test_a_hospital_may_have_words_of_its_own(registry):
    registry.contract = contract(*ALL_TABLES, words={"PV1-2": {"OBS": "observation"}, "PV1-36": {"EXP": "died"}})
    registry.sends(*message("A03", patient_class="OBS", f36="EXP"))
    assert (stays(registry)[0]["class"], stays(registry)[0]["discharge_disposition"]) == ("observation", "died")


def test_a_word_may_only_mean_what_the_tables_know():
    with pytest.raises(ValueError, match="PV1-36: gone is none of"):
        contract(*ALL_TABLES, words={"PV1-36": {"EXP": "gone"}})


def test_a_visit_without_number_goes_by_the_account_of_the_patient(registry):
    registry.sends(*message("A01", number="", pid=PID + "|" * 15 + "ACC7"))
    assert [row["encounter_id"] for row in registry.rows("encounter")] == ["ACC7"]
    registry.sends(*message("A01", number=""))
    assert [row["problem_detail"] for row in registry.rows("encounter")] == ["PV1-19"]


def test_the_person_is_born_of_a_sex_and_may_be_dead(registry):
    person = PID + "||ERIKSEN^HUGO||19400612|M" + "|" * 21 + "20240305|Y"
    registry.sends(*message("A03", pid=person))
    (row,) = registry.rows("patient")
    assert {name: row[name] for name in ("patient_id", "birth_date", "sex", "is_deceased", "deceased_at")} == {
        "patient_id": "M1",
        "birth_date": "19400612",
        "sex": "male",
        "is_deceased": True,
        "deceased_at": "20240305",
    }


def born(registry):
    return [(row["birth_date"], row["sex"], row["is_deceased"]) for row in registry.rows("patient")]


def test_what_a_later_message_does_not_say_of_a_person_stays_and_what_it_takes_back_is_gone(registry):
    whole, short, empty = PID + "||||19400612|M", PID, PID + '||||""|""'
    other = PID.replace("M1^", "M2^")
    dead = PID + "|" * 27 + "Y"
    sent = [message("A02", pid=pid) for pid in (whole, dead, other, short, empty, short)]
    registry.sends(*(segment for segments in sent for segment in segments))
    assert born(registry) == [
        ("19400612", "male", None),
        ("19400612", "male", True),
        (None, None, None),
        ("19400612", "male", True),
        (None, None, True),
        (None, None, True),
    ]


def test_a_person_goes_on_as_the_lake_knows_them(home):
    feed = open_feed(home)
    merge = [message("A40")[0], PID, "MRG|M2^^^LAB&1.2.3&ISO^MR"]
    for sent in (message("A01", pid=PID + "||||19400612|M" + "|" * 22 + "Y"), merge):
        file = home / "adt.hl7"
        file.write_text("\r".join(sent))
        ingest("lab", file, as_of=feed.tick(), is_history=False, places=feed.places, records=feed.records)
    assert feed.rows("select birth_date, sex, is_deceased from versions", "patient") == [
        (date(1940, 6, 12), "male", True)
    ]


def test_a_person_whose_sex_nobody_can_read_is_bad_and_says_nothing_to_the_next(registry):
    strange, short = message("A02", pid=PID + "||||19400612|Q"), message("A02", pid=PID)
    registry.sends(*strange, *short)
    assert [row["problem_detail"] for row in registry.rows("patient")] == ["PID-8", None]
    registry.sends(*message("A02", pid=PID + "||||1940"), *short)
    assert [row["problem_detail"] for row in registry.rows("patient")] == ["birth_date", None]
    assert born(registry)[1] == (None, None, None)


def test_a_ward_is_the_first_part_of_the_place(registry):
    registry.sends(*message("A01", ward="4W&1.2.3&ISO^12^A", f44="20240301073000"))
    assert wards(registry) == [("4W", "20240301073000", None, False)]


def test_a_merge_makes_the_old_number_one_of_the_patient_who_stays(registry):
    head, evn, pid, _ = message("A40")
    registry.sends(head, evn, pid, "MRG|M2^^^LAB&1.2.3&ISO^MR")
    assert [(row["record_line"], row["patient_id"], row["value"]) for row in registry.links] == [
        (3, "M1", "M1"),
        (4, "M2", "M1"),
    ]
    assert registry.rows("encounter") == []


def test_an_unlinking_takes_the_merge_back(registry):
    head, evn, pid, _ = message("A37")
    registry.sends(head, evn, pid, "PID|2||M2^^^LAB&1.2.3&ISO^MR")
    taken_back = {row["link_id"] for row in registry.links if row["is_retracted"]}
    assert taken_back == {"M1|urn:oid:1.2.3|M2", "M2|urn:oid:1.2.3|M1"}


@pytest.mark.parametrize(
    ("merge", "problem"),
    [("MRG|", "missing_field"), ("MRG|M1^^^LAB&1.2.3&ISO^MR", "bad_value"), ("MRG|X^^^Q&9.9&ISO", "foreign_patient")],
)
def test_a_merge_with_nobody_is_bad(registry, merge, problem):
    head, evn, pid, _ = message("A40")
    registry.sends(head, evn, pid, merge)
    assert [(row["problem"], row["problem_detail"]) for row in registry.links][1:] == [(problem, "MRG-1")]


def test_a_stay_whose_patient_cannot_be_read_is_nobodys(registry):
    registry.sends(*message("A01", pid="PID|1||X^^^Q&9.9&ISO"))
    assert [row["problem"] for row in registry.rows("encounter")] == ["foreign_patient"]
    assert [row["problem"] for row in registry.rows("patient")] == ["foreign_patient"]


def test_a_feed_of_results_counts_an_admission_as_out_of_scope(laboratory):
    laboratory.sends(*ADMITTED)
    assert [row["out_of_scope_reason"] for row in laboratory.results] == ["message ADT^A01"]


def test_a_feed_of_admissions_counts_results_as_out_of_scope(laboratory):
    laboratory.contract = contract("patient", "patient_link", "encounter")
    laboratory.sends(MSH, PID, obx(), *ADMITTED)
    assert [row["out_of_scope_reason"] for row in laboratory.rows("encounter")] == ["message ORU^R01", None]


def test_a_message_of_another_kind_is_counted_once(registry):
    registry.sends(MSH.replace("ORU^R01^ORU_R01", "SIU^S12"), PID, pv1())
    assert [row["out_of_scope_reason"] for row in registry.results] == ["message SIU^S12"]
    assert not any(registry.rows(table) for table in ALL_TABLES if table != "observation")
