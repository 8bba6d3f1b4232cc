"""What the LIS sends: HL7 v2 results of the nights, matched to the EHR by MRN and encounter number."""

import csv
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from integrations.contract import SOURCES


@pytest.fixture(scope="module")
def files(written):
    return written("none")


def local(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=ZoneInfo("America/Chicago"))


def test_a_message_is_a_header_a_patient_a_visit_one_order_and_its_results(files, reading):
    for night in files.nights:
        for message in reading.messages(night.lis):
            assert [fields[0] for fields in message[:4]] == ["MSH", "PID", "PV1", "OBR"]
            assert {fields[0] for fields in message[4:]} == {"OBX"}
            header, order = message[0], message[3]
            assert (header[8], header[11]) == ("ORU^R01^ORU_R01", "2.5.1")  # MSH-1 is the separator itself
            assert order[25] in ("F", "C")
            assert [fields[1] for fields in message[4:]] == [str(place) for place in range(1, len(message) - 3)]
            assert all(fields[14] == order[7] for fields in message[4:])


def test_a_control_id_and_an_accession_tell_messages_and_specimens_apart(files, reading):
    messages = [message for night in files.nights for message in reading.messages(night.lis)]
    control = [message[0][9] for message in messages]
    assert len(set(control)) == len(control) > 50
    collected = {}
    for message in messages:
        order = message[3]
        assert collected.setdefault(order[3], order[7]) == order[7]


def test_results_are_released_within_the_night_of_their_file_by_the_hospital_clock(files, reading):
    before = files.history_taken_at
    for night in files.nights:
        for result in reading.results(night.lis):
            assert local(result.collected) < local(result.released)
            assert before <= local(result.released) <= night.taken_at
        before = night.taken_at


def test_patients_and_stays_are_those_that_the_ehr_has_sent_by_the_same_night(files, reading):
    mrn, stays = {}, {}
    for folder, lis in [(files.history, None), *((night.ehr, night.lis) for night in files.nights)]:
        for patient in reading.resources(folder, "Patient"):
            mrn |= {each["value"]: f"Patient/{patient['id']}" for each in patient["identifier"]}
        stays |= {each["id"]: each["subject"]["reference"] for each in reading.resources(folder, "Encounter")}
        for result in reading.results(lis) if lis else []:
            assert stays[result.encounter] == mrn[result.mrn]


def test_a_message_names_the_patient_as_the_ehr_does(files, reading):
    patients = {
        patient["identifier"][0]["value"]: patient
        for folder in (files.history, *(night.ehr for night in files.nights))
        for patient in reading.resources(folder, "Patient")
    }
    for message in reading.messages(files.nights[0].lis):
        fields = message[1]
        patient = patients[fields[3].split("^")[0]]
        assert fields[5] == f"{patient['name'][0]['family']}^{patient['name'][0]['given'][0]}"
        assert fields[7] == patient["birthDate"].replace("-", "")
        assert fields[8] == patient["gender"][0].upper()


def test_every_code_and_unit_that_is_sent_stands_in_the_codes_of_the_feed(files, reading):
    with (SOURCES / "demo_lis" / "codes.csv").open(encoding="utf-8") as file:
        known = {(row["local_system"], row["local_code"], row["unit"]) for row in csv.DictReader(file)}
    sent = {
        (result.system, result.code, result.unit) for night in files.nights for result in reading.results(night.lis)
    }
    assert sent <= known
    assert len(sent) >= 8


def test_a_corrected_result_comes_again_under_its_accession(files, reading):
    results = [result for night in files.nights for result in reading.results(night.lis)]
    final = {(result.accession, result.code): result for result in results if result.status == "F"}
    again = [result for result in results if result.status in ("C", "D")]
    assert again
    for result in again:
        first = final.get((result.accession, result.code))
        assert first is None or local(first.released) < local(result.released)
    corrected = [(final[result.accession, result.code], result) for result in again if result.status == "C"]
    assert any(first.value != second.value for first, second in corrected)
