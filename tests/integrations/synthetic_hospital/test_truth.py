"""What is known of the hospital: the true risk is exact, as good as a model can get, and visible to a receiver."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from integrations.synthetic_hospital.catalogue import ELECTIVE, NOT_ELIGIBLE
from integrations.synthetic_hospital.frames import Stays
from integrations.synthetic_hospital.hospital import Hospital, draw_bucket

LAST_EXTRACT = Hospital().cuts[-1]


@pytest.fixture(scope="module")
def stays() -> Stays:
    """Every inpatient stay of 8,000 patients, numbered over the buckets; patients are told apart by bucket."""
    hospital = Hospital(scenario="none")
    parts = []
    for number in range(hospital.bucket_count):
        part = draw_bucket(hospital, number).stays
        parts.append(part.put(slice(None), patient=part.patient + number * 1000))
    return Stays.join(parts)


def auroc(outcome: np.ndarray, score: np.ndarray) -> float:
    """Share of pairs of a yes and a no in which the yes has the higher score."""
    order = np.argsort(score)
    rank = np.empty(len(score))
    rank[order] = np.arange(1, len(score) + 1)
    yes = outcome.sum()
    return float((rank[outcome].sum() - yes * (yes + 1) / 2) / (yes * (len(score) - yes)))


def eligible(stays: Stays) -> Stays:
    return stays.take(~np.isin(stays.disposition, NOT_ELIGIBLE) & ~stays.is_same_episode & (stays.end < 911))


def test_the_bayes_optimal_auroc_of_readmission_is_about_three_quarters(stays):
    rows = eligible(stays)
    assert 0.73 <= auroc(rows.is_readmitted, rows.readmission_risk) <= 0.77
    assert 0.15 <= rows.is_readmitted.mean() <= 0.20
    assert rows.is_readmitted[rows.end > 0.8 * 911].sum() >= 100


def test_the_true_risk_is_calibrated_in_every_fifth(stays):
    rows = eligible(stays)
    fifths = np.array_split(np.argsort(rows.readmission_risk), 5)
    for fifth in fifths:
        expected, observed = rows.readmission_risk[fifth].mean(), rows.is_readmitted[fifth].mean()
        assert observed == pytest.approx(expected, abs=4 * (expected / len(fifth)) ** 0.5)


def test_who_is_readmitted_comes_unplanned_from_24_h_to_30_days_and_nobody_else_does(stays):
    unplanned = stays.take(stays.priority != ELECTIVE)
    for row in np.flatnonzero(stays.end < LAST_EXTRACT):
        later = unplanned.start[unplanned.patient == stays.patient[row]] - stays.end[row]
        within = later[(later > 0) & (later <= 30)]
        assert bool((within < 1).any()) == stays.is_same_episode[row]
        assert stays.is_same_episode[row] or bool(len(within)) == stays.is_readmitted[row]


def test_the_finer_points_of_the_label_occur(stays):
    rows = eligible(stays)
    order = np.lexsort((stays.start, stays.patient))
    gap = stays.start[order][1:] - stays.end[order][:-1]
    is_same_patient = stays.patient[order][1:] == stays.patient[order][:-1]
    is_planned = stays.priority[order][1:] == ELECTIVE
    planned_returns = is_same_patient & is_planned & (gap < 30)
    assert planned_returns.sum() > 50
    assert stays.is_same_episode.sum() > 20
    assert set(NOT_ELIGIBLE) <= set(stays.disposition)
    assert (rows.age < 18).any()


def test_kidney_injury_strikes_one_stay_in_eight_after_admission_and_its_risk_is_known(stays):
    is_injured = ~np.isnan(stays.injury_at)
    assert 0.09 <= is_injured.mean() <= 0.15
    assert (stays.injury_at - stays.start)[is_injured].min() > 0.5
    assert 0.72 <= auroc(is_injured, stays.injury_risk) <= 0.88


def test_truth_names_encounters_and_discharges_as_the_ehr_writes_them(written, reading):
    files = written("none")
    truth = {row["encounter_id"]: row for row in pq.read_table(files.truth).to_pylist()}
    finished = {
        each["id"]: each
        for folder in (files.history, *(night.ehr for night in files.nights))
        for each in reading.resources(folder, "Encounter")
        if each["status"] == "finished" and each["class"]["code"] == "IMP"
    }
    assert finished.keys() <= truth.keys()
    assert len(truth) - len(finished) <= 2  # ended minutes before the last extract, written down after it
    for identity, encounter in finished.items():
        row = truth[identity]
        assert encounter["period"]["end"] == f"{row['discharged_at']:%Y-%m-%dT%H:%M:%SZ}"
        assert encounter["subject"]["reference"] == f"Patient/{row['patient_id']}"
        code = encounter["hospitalization"]["dischargeDisposition"]["coding"][0]["code"]
        if code in ("02", "hosp", "aadvice", "exp"):
            assert not row["is_eligible"]
    assert {row["is_kidney_injured"] for row in truth.values()} == {True, False}
    assert all((row["kidney_injury_at"] is not None) == row["is_kidney_injured"] for row in truth.values())


def test_an_eligible_discharge_is_of_an_adult_by_the_calendar(written, reading):
    files = written("none")
    born = {each["id"]: each["birthDate"] for each in reading.resources(files.history, "Patient")}
    for row in pq.read_table(files.truth).to_pylist():
        if row["is_eligible"] and row["patient_id"] in born:
            birthday = f"{int(born[row['patient_id']][:4]) + 18}{born[row['patient_id']][4:]}"
            assert birthday <= f"{row['discharged_at']:%Y-%m-%d}"


def test_no_feed_carries_the_truth(written):
    files = written("none")
    words = (b"readmission_probability", b"aki_probability", b"severity", b"frailty")
    for path in Path(files.folder).rglob("*"):
        if path.is_file() and path != files.truth:
            text = path.read_bytes()
            assert not any(word in text for word in words)
