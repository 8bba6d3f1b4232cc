"""The hospital as a whole: the same choices give the same bytes, and it is as large as it says."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from integrations.contract import load_contract
from integrations.errors import Refused, WrongUsage
from integrations.synthetic_hospital import Hospital, write_hospital
from integrations.synthetic_hospital.catalogue import NOT_ELIGIBLE
from integrations.synthetic_hospital.extract import BulkExport
from integrations.synthetic_hospital.hospital import draw_bucket


def test_the_same_choices_give_the_same_bytes_and_another_seed_gives_others(tmp_path, reading):
    for name, seed in (("one", 7), ("again", 7), ("other", 8)):
        write_hospital(Hospital(patients=60, nights=2, seed=seed), tmp_path / name)
    assert reading.bytes_of(tmp_path / "one") == reading.bytes_of(tmp_path / "again")
    assert reading.bytes_of(tmp_path / "one") != reading.bytes_of(tmp_path / "other")


def test_a_larger_hospital_begins_with_the_same_patients(tmp_path):
    small, large = Hospital(patients=1000, nights=1), Hospital(patients=1400, nights=1)
    ours, theirs = draw_bucket(small, 0), draw_bucket(large, 0)
    assert large.bucket_count == 2
    np.testing.assert_array_equal(ours.results.value, theirs.results.value)
    second = draw_bucket(large, 1)
    assert second.patients.number.tolist() == list(range(1000, 1400))
    assert not set(second.contacts.number) & set(ours.contacts.number)
    assert not set(second.results.number) & set(ours.results.number)


def test_more_nights_leave_the_history_as_it_is(tmp_path, reading):
    one, two = (write_hospital(Hospital(patients=150, nights=n), tmp_path / str(n)) for n in (1, 3))
    assert reading.bytes_of(one.history) == reading.bytes_of(two.history)
    assert reading.bytes_of(one.nights[0].ehr) == reading.bytes_of(two.nights[0].ehr)


def test_an_extract_arrives_before_midnight_and_its_round_scores_after_it():
    hospital = Hospital(nights=14)
    chicago = ZoneInfo("America/Chicago")
    arrives, scores = hospital.night_times[0].astimezone(chicago), hospital.round_times[0].astimezone(chicago)
    assert arrives.isoformat() == "2024-07-01T23:45:00-05:00"
    assert scores.isoformat() == "2024-07-02T00:15:00-05:00"
    assert len(hospital.night_times) == 14
    assert hospital.night_times[1] - hospital.night_times[0] == timedelta(days=1)
    assert hospital.night_times[0].tzinfo is UTC


@pytest.mark.parametrize("source", ["demo_ehr", "demo_lis"])
def test_history_arrives_before_the_feeds_are_live_and_every_night_after(source):
    contract, hospital = load_contract(source), Hospital(nights=2)
    assert contract.is_past(hospital.history_end)
    assert not any(contract.is_past(night) for night in hospital.night_times)


def test_a_hospital_of_8000_has_about_90_discharges_in_14_nights_and_34_patients_in_the_house():
    hospital = Hospital(scenario="none")
    buckets = [draw_bucket(hospital, number) for number in range(hospital.bucket_count)]
    start, end = (np.concatenate([getattr(bucket.stays, name) for bucket in buckets]) for name in ("start", "end"))
    disposition = np.concatenate([bucket.stays.disposition for bucket in buckets])
    goes_home = (end > hospital.cuts[0]) & (end <= hospital.cuts[-1]) & ~np.isin(disposition, NOT_ELIGIBLE)
    in_house = [((start <= night) & (end > night)).sum() for night in hospital.cuts]
    issued = np.concatenate([bucket.results.issued for bucket in buckets])
    assert 75 <= goes_home.sum() <= 105
    assert 25 <= np.mean(in_house) <= 40
    assert 5500 <= (end <= hospital.cuts[0]).sum() <= 7000
    assert 350_000 <= (issued <= hospital.cuts[0]).sum() <= 450_000


def test_the_manifest_counts_what_the_files_hold(written, reading):
    files = written("none")
    for folder in (files.history, files.nights[0].ehr):
        manifest = json.loads((folder / "manifest.json").read_bytes())
        assert {entry["url"] for entry in manifest["output"]} == {path.name for path in folder.glob("*.ndjson")}
        for entry in manifest["output"]:
            lines = (folder / entry["url"]).read_text(encoding="utf-8").splitlines()
            assert len(lines) == entry["count"]
            assert all(json.loads(line)["resourceType"] == entry["type"] for line in lines[:5])
    assert datetime.fromisoformat(manifest["transactionTime"]) == files.nights[0].taken_at


def test_observations_fill_one_file_after_the_other(tmp_path):
    export = BulkExport(tmp_path / "export", observations_per_file=4)
    export.add_observations(["1", "2", "3"])
    export.add_observations(["4", "5", "6", "7", "8", "9"])
    parts = sorted((tmp_path / "export").glob("Observation.*.ndjson"))
    assert [part.read_text().split() for part in parts] == [["1", "2", "3", "4"], ["5", "6", "7", "8"], ["9"]]
    assert export.resource_count == 9


def test_progress_is_told_bucket_by_bucket(tmp_path):
    told = []
    write_hospital(Hospital(patients=30, nights=0), tmp_path / "small", lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]


def test_a_folder_that_holds_something_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Refused, match="not empty"):
        write_hospital(Hospital(patients=10), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"scenario": "flood"}, "unknown scenario flood"),
        ({"patients": 0}, "at least 1 patient"),
        ({"nights": -1}, "0 nights"),
    ],
)
def test_an_impossible_hospital_is_wrong_usage(choices, says):
    with pytest.raises(WrongUsage, match=says):
        Hospital(**choices)
