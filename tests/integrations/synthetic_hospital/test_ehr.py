"""What the EHR sends: the whole past once, then each night what changed, as it stands."""

import csv
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from integrations.contract import SOURCES
from integrations.synthetic_hospital.fhir import MRN_SYSTEM
from integrations.synthetic_hospital.fhir_encounters import encounter_resources
from integrations.synthetic_hospital.hospital import Hospital, draw_bucket

KINDS = ("Patient", "Encounter", "Condition", "Procedure", "Observation", "MedicationRequest", "ImagingStudy")


@pytest.fixture(scope="module")
def extracts(written, reading):
    """Every extract of the EHR in order: when it was taken, and its resources by kind."""
    files = written("none")
    taken = [files.history_taken_at, *(night.taken_at for night in files.nights)]
    folders = [files.history, *(night.ehr for night in files.nights)]
    return [
        (at, {kind: reading.resources(folder, kind) for kind in KINDS})
        for at, folder in zip(taken, folders, strict=True)
    ]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_night_holds_what_was_updated_since_the_extract_before(extracts):
    for (before, _), (taken, resources) in pairwise(extracts):
        for kind in KINDS:
            for each in resources[kind]:
                assert before <= instant(each["meta"]["lastUpdated"]) <= taken


def test_nothing_that_an_extract_says_happened_after_it_was_taken(extracts):
    for taken, resources in extracts:
        for encounter in resources["Encounter"]:
            moves = [place["period"] for place in encounter["location"]]
            times = [time for period in (encounter["period"], *moves) for time in period.values()]
            assert max(instant(time) for time in times) <= taken
        for observation in resources["Observation"]:
            assert instant(observation["effectiveDateTime"]) <= instant(observation["issued"]) <= taken


def test_a_stay_is_in_progress_until_its_end_is_written_down(extracts):
    versions = defaultdict(list)
    for _, resources in extracts:
        for encounter in resources["Encounter"]:
            versions[encounter["id"]].append(encounter)
    told = [
        each for each in versions.values() if each[0]["status"] == "in-progress" and each[-1]["status"] == "finished"
    ]
    assert len(told) >= 5
    for first, last in ((each[0], each[-1]) for each in told):
        assert "end" not in first["period"]
        assert "dischargeDisposition" not in first["hospitalization"]
        assert first["location"][-1]["status"] == "active"
        assert instant(first["meta"]["lastUpdated"]) < instant(last["meta"]["lastUpdated"])
        assert instant(last["meta"]["lastUpdated"]) == instant(last["period"]["end"]) + timedelta(minutes=10)
        assert last["location"][-1]["period"]["end"] == last["period"]["end"]


def test_an_extract_taken_minutes_after_an_arrival_knows_no_ward_yet():
    bucket, minute = draw_bucket(Hospital(patients=200, nights=1), 0), 1 / 1440
    arrival = float(bucket.contacts.start[0])
    [first] = encounter_resources(bucket.patients, bucket.contacts, arrival, arrival + 3 * minute)
    [second] = encounter_resources(bucket.patients, bucket.contacts, arrival + 3 * minute, arrival + 5 * minute)
    assert first["id"] == second["id"]
    assert "location" not in first
    assert [place["status"] for place in second["location"]] == ["active"]
    assert second["location"][0]["period"] == first["period"]


def test_ward_follows_ward_without_a_gap(extracts):
    transferred = [each for _, r in extracts for each in r["Encounter"] if len(each["location"]) > 1]
    assert any(place["location"]["display"] == "Intensive Care" for each in transferred for place in each["location"])
    for encounter in transferred:
        assert encounter["location"][0]["period"]["start"] == encounter["period"]["start"]
        for earlier, later in pairwise(encounter["location"]):
            assert earlier["period"]["end"] == later["period"]["start"]


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        (("class",), {"IMP", "EMER", "OBSENC", "AMB"}),
        (("priority",), {"EM", "UR", "EL", "R"}),
        (("serviceType",), {"MED", "CARD", "SURG", "NEPH", "ONC"}),
        (("hospitalization", "admitSource"), {"emd", "nursing", "hosp-trans", "outp", "gp"}),
        (("hospitalization", "dischargeDisposition"), {"home", "snf", "rehab", "02", "hosp", "aadvice", "exp"}),
    ],
)
def test_every_kind_of_encounter_occurs_in_history(extracts, path, codes):
    found = set()
    for encounter in extracts[0][1]["Encounter"]:
        element = encounter
        for name in path:
            element = element.get(name, {})
        found |= {each["code"] for each in element.get("coding", [element] if element else [])}
    assert found == codes


def test_a_patient_has_an_mrn_a_name_and_dies_in_a_later_version(extracts):
    _, history = extracts[0]
    for patient in history["Patient"]:
        assert [(each["system"], each["value"]) for each in patient["identifier"]] == [
            (MRN_SYSTEM, patient["id"].replace("p", "MRN"))
        ]
        assert patient["name"][0]["family"]
    alive = {each["id"] for each in history["Patient"] if "deceasedDateTime" not in each}
    died = {each["id"] for _, night in extracts[1:] for each in night["Patient"] if "deceasedDateTime" in each}
    assert died & alive
    assert any("deceasedDateTime" in each for each in history["Patient"])


def test_billing_codes_come_days_after_the_discharge_and_problems_before_it(extracts):
    encounters = {each["id"]: each for _, resources in extracts for each in resources["Encounter"]}
    kinds = set()
    for _, resources in extracts:
        for condition in resources["Condition"]:
            kind = condition["category"][0]["coding"][0]["code"]
            kinds.add(kind)
            if kind == "problem-list-item":
                assert "encounter" not in condition
                continue
            encounter = encounters[condition["encounter"]["reference"].removeprefix("Encounter/")]
            recorded = instant(condition["recordedDate"])
            if kind == "billing":
                assert recorded == instant(encounter["period"]["end"]) + timedelta(days=3)
            else:
                assert recorded == instant(encounter["period"]["start"]) + timedelta(hours=2)
    assert kinds == {"problem-list-item", "encounter-diagnosis", "billing"}


def test_dialysis_stands_in_codes_procedures_and_kidneys(extracts):
    _, history = extracts[0]
    on_dialysis = {
        each["subject"]["reference"] for each in history["Condition"] if each["code"]["coding"][0]["code"] == "Z99.2"
    }
    dialysed = {
        each["subject"]["reference"] for each in history["Procedure"] if each["code"]["coding"][0]["code"] == "5A1D70Z"
    }
    high = [
        each["valueQuantity"]["value"]
        for each in history["Observation"]
        if each["code"]["coding"][0]["code"] == "2160-0" and each["subject"]["reference"] in on_dialysis
    ]
    assert on_dialysis & dialysed
    assert min(high) > 3


def test_all_laboratory_results_come_with_history_and_each_night_blood_counts_alone(extracts):
    def codes(resources, category):
        found = [each for each in resources["Observation"] if each["category"][0]["coding"][0]["code"] == category]
        return {each["code"]["coding"][0]["code"] for each in found}

    assert len(codes(extracts[0][1], "laboratory")) > 9
    nights = [codes(resources, "laboratory") for _, resources in extracts[1:]]
    assert set.union(*nights) == {"718-7", "6690-2"}
    assert sum(bool(codes(resources, "vital-signs")) for _, resources in extracts[1:]) > 20


def test_a_blood_count_of_a_night_has_the_number_that_the_laboratory_gave_it(extracts):
    for place, (_, resources) in enumerate(extracts):
        for each in resources["Observation"]:
            if each["category"][0]["coding"][0]["code"] == "laboratory":
                assert ("identifier" in each) == (place > 0)
                assert place == 0 or each["identifier"][0]["value"].endswith("-CBC")


def test_laboratory_results_take_about_an_hour_and_vital_signs_a_minute(extracts):
    minutes = defaultdict(list)
    for each in extracts[0][1]["Observation"]:
        if each["status"] == "final":
            delay = instant(each["issued"]) - instant(each["effectiveDateTime"])
            minutes[each["category"][0]["coding"][0]["code"]].append(delay / timedelta(minutes=1))
    assert 50 <= sorted(minutes["laboratory"])[len(minutes["laboratory"]) // 2] <= 60
    assert max(minutes["vital-signs"]) <= 2


def test_some_results_are_amended_or_withdrawn_under_their_own_id(extracts):
    versions = defaultdict(list)
    for _, resources in extracts:
        for each in resources["Observation"]:
            versions[each["id"]].append(each)
    assert {"amended", "entered-in-error"} <= {each[-1]["status"] for each in versions.values()}
    changed_at_night = [each for each in versions.values() if len(each) == 2]
    assert changed_at_night
    for first, second in changed_at_night:
        assert first["status"] == "final"
        assert second["status"] in ("amended", "entered-in-error")
        assert first["effectiveDateTime"] == second["effectiveDateTime"]
        assert instant(first["issued"]) < instant(second["issued"])


def test_every_code_and_unit_that_is_sent_stands_in_the_codes_of_the_feed(extracts):
    with (SOURCES / "demo_ehr" / "codes.csv").open(encoding="utf-8") as file:
        known = {(row["local_system"], row["local_code"], row["unit"]) for row in csv.DictReader(file)}
    sent = {
        (coding["system"], coding["code"], each["valueQuantity"]["unit"])
        for _, resources in extracts
        for each in resources["Observation"]
        for coding in each["code"]["coding"]
    }
    assert sent == known


@pytest.mark.parametrize("kind", ["Procedure", "MedicationRequest", "ImagingStudy"])
def test_what_was_done_names_a_stay_of_its_patient_and_is_sent_once(extracts, kind):
    subject = {each["id"]: each["subject"]["reference"] for _, r in extracts for each in r["Encounter"]}
    sent = [each for _, resources in extracts for each in resources[kind]]
    assert len(sent) == len({each["id"] for each in sent}) > 20
    for each in sent:
        assert subject[each["encounter"]["reference"].removeprefix("Encounter/")] == each["subject"]["reference"]
