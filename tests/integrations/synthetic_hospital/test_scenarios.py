"""Every scripted fault is visible in the files of its nights, and nowhere else."""

from statistics import median

import numpy as np
import pytest

from integrations.synthetic_hospital.catalogue import CONDITION, UPGRADED_CODES
from integrations.synthetic_hospital.hospital import Hospital, draw_bucket
from integrations.synthetic_hospital.scenarios import SCENARIOS

CREATININE, LONG = "2160-0", {"patients": 1000, "nights": 90}


@pytest.fixture(scope="module")
def nightly(written, reading):
    """`nightly("outage")[4]` are the results of the fifth night."""
    return lambda scenario: [reading.results(night.lis) for night in written(scenario).nights]


def creatinines(results):
    return [(result.value, result.unit) for result in results if result.code == CREATININE]


@pytest.mark.parametrize("scenario", sorted(SCENARIOS.keys() - {"none"}))
def test_the_history_is_the_same_in_every_scenario(written, reading, scenario):
    assert reading.bytes_of(written(scenario).history) == reading.bytes_of(written("none").history)


def test_creatinine_unit_labels_umol_as_mg_in_nights_5_and_6_alone(nightly):
    sound, faulty = nightly("none"), nightly("creatinine_unit")
    for night, (right, wrong) in enumerate(zip(sound, faulty, strict=True), 1):
        if night in (5, 6):
            assert len(creatinines(wrong)) == len(creatinines(right)) > 2
            assert {unit for _, unit in creatinines(wrong)} == {"mg/dL"}
            for (value, _), (true_value, _) in zip(creatinines(wrong), creatinines(right), strict=True):
                assert value == round(true_value * 88.42)
        else:
            assert wrong == right


def test_unit_change_declared_sends_umol_as_umol_from_night_5(nightly):
    changed = nightly("unit_change_declared")
    assert {unit for night in changed[:4] for _, unit in creatinines(night)} == {"mg/dL"}
    assert {unit for night in changed[4:] for _, unit in creatinines(night)} == {"umol/L"}
    assert median(value for night in changed[4:] for value, _ in creatinines(night)) > 40


def test_loinc_swap_sends_other_codes_from_night_5(nightly):
    swapped, new = nightly("loinc_swap"), set(UPGRADED_CODES.values())
    assert not {result.code for night in swapped[:4] for result in night} & new
    assert {result.code for night in swapped[4:] for result in night} >= new
    assert not {result.code for night in swapped[4:] for result in night} & {"2823-3", "2951-2", "2345-7", "718-7"}


def test_outage_loses_two_panels_in_nights_5_to_7_for_good(nightly):
    sound, down = nightly("none"), nightly("outage")
    panels = [[{result.accession.split("-")[1] for result in night} for night in nights] for nights in (sound, down)]
    assert all({"BMP", "CBC"} & panel for panel in panels[0][4:7])
    assert not any({"BMP", "CBC"} & panel for panel in panels[1][4:7])
    assert down[:4] == sound[:4]
    assert down[7:] == sound[7:]


def test_late_results_come_a_night_later(nightly):
    sound, late = nightly("none"), nightly("late_results")
    night_of = {(result.accession, result.code): at for at, night in enumerate(sound) for result in night}
    nights_late = [
        at - night_of[result.accession, result.code]
        for at, night in enumerate(late)
        for result in night
        if (result.accession, result.code) in night_of and result.status == "F"
    ]
    assert 0.15 < np.mean(np.array(nights_late) >= 1) < 0.5
    assert min(nights_late) == 0


def test_duplicates_and_corrections_are_many_and_a_decimal_slips(nightly):
    results = [result for night in nightly("duplicates_corrections") for result in night]
    quiet = [result for night in nightly("none") for result in night]
    assert sum(r.status in "CD" for r in results) > 3 * sum(r.status in "CD" for r in quiet)
    final = {}
    for result in results:
        if result.status == "F":
            final.setdefault((result.accession, result.code), []).append(result)
    assert any(len(same) == 2 and same[0].value == same[1].value for same in final.values())
    ratios = [
        final[result.accession, result.code][0].value / result.value
        for result in results
        if result.status == "C" and (result.accession, result.code) in final
    ]
    assert any(ratio > 8 or ratio < 0.2 for ratio in ratios)


def test_merged_patients_come_under_a_second_record_that_is_merged_the_next_day(written, reading):
    files = written("merged_patients")
    versions, encounters, mrns = {}, [], set()
    for night in files.nights:
        for patient in reading.resources(night.ehr, "Patient"):
            versions.setdefault(patient["id"], []).append(patient)
        encounters += reading.resources(night.ehr, "Encounter")
        mrns |= {result.mrn for result in reading.results(night.lis)}
    second = {identity: each for identity, each in versions.items() if identity.endswith("b")}
    assert second
    assert {f"Patient/{identity}" for identity in second} <= {each["subject"]["reference"] for each in encounters}
    assert any(mrn.startswith("TMP") for mrn in mrns)
    merged = [identity for identity, each in second.items() if not each[-1]["active"]]
    assert merged
    for identity in merged:
        first, last = second[identity][0], second[identity][-1]
        survivor = versions[identity.removesuffix("b")][-1]
        assert "link" not in first or first is last
        assert last["link"] == [{"other": {"reference": f"Patient/{survivor['id']}"}, "type": "replaced-by"}]
        assert last["identifier"][0]["value"] in {each["value"] for each in survivor["identifier"]}


def test_prevalence_raises_the_rate_of_return_from_go_live_on():
    usual, raised = (_after_go_live(scenario) for scenario in ("none", "prevalence"))
    assert raised.is_readmitted.mean() > 1.4 * usual.is_readmitted.mean()


def test_concept_takes_the_risk_of_heart_failure_away_and_leaves_others_as_they_were():
    usual, treated = (_after_go_live(scenario) for scenario in ("none", "concept"))
    conditions = draw_bucket(Hospital(**LONG), 0).patients.conditions
    has_it = conditions[:, CONDITION["heart_failure"]]
    is_well = ~(has_it | conditions[:, CONDITION["kidney_disease"]])

    def risk(stays, who):
        return stays.readmission_risk[who[stays.patient]].mean()

    assert risk(treated, has_it) < 0.75 * risk(usual, has_it)
    assert 0.85 < risk(treated, is_well) / risk(usual, is_well) < 1.15


def test_casemix_makes_the_patients_older():
    usual, older = (_after_go_live(scenario) for scenario in ("none", "casemix"))
    assert len(older) < 0.75 * len(usual)
    assert np.mean(older.age) > np.mean(usual.age) + 4


def _after_go_live(scenario):
    hospital = Hospital(scenario=scenario, **LONG)
    stays = draw_bucket(hospital, 0).stays
    return stays.take((stays.start > hospital.cuts[0]) & (stays.end < hospital.cuts[-1]))
