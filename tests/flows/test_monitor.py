"""What monitoring judges: scores that the version has not learnt from; faults of a feature's own codes."""

from sqlalchemy import insert

from flows.monitor import _findings, matured_outcomes, scored_window, taken_results
from integrations.records import schema as s
from models.monitoring.findings import explains
from tests.flows.ward import DAY, HOUR, NIGHT, Ward, round_at


def trained(ward: Ward, trained_at_days: float) -> None:
    """Version 1 was trained so many days after the first night."""
    values = {"use_case": "readmission_30d", "version": 1, "trained_at": NIGHT + trained_at_days * DAY}
    hashes = {"manifest": {}, "manifest_hash": "m", "report_hash": "r", "reasons": [], "evaluation": {}}
    with ward.house.records.begin() as connection:
        connection.execute(
            insert(s.model_version).values(**values, **hashes, trained_by="service:train", snapshot_id=1, gate="pass")
        )


def judged(ward: Ward, as_of_days: float) -> list[str]:
    rows = matured_outcomes(ward.house, round_at(NIGHT + as_of_days * DAY))
    return sorted(rows["encounter_id"].to_pylist())


def test_outcomes_are_those_of_rounds_after_the_training_and_of_the_last_nights(ward: Ward) -> None:
    trained(ward, 0)
    for name, day in (("before", -1), ("after", 1), ("open", 45), ("old_by_then", 2)):
        ward.discharge(name, NIGHT + day * DAY - HOUR)
        ward.score(NIGHT + day * DAY)
    assert judged(ward, 60) == ["ehr/after", "ehr/old_by_then"]
    assert judged(ward, 91.95) == ["ehr/old_by_then", "ehr/open"]
    assert judged(ward, 200) == []


def test_a_silent_look_at_the_time_before_the_training_is_no_outcome_and_no_part_of_the_window(ward: Ward) -> None:
    trained(ward, -1)
    ward.discharge("p1", NIGHT - 2 * DAY)
    ward.discharge("p2", NIGHT - 2 * HOUR)
    ward.score(NIGHT, is_champion=False, all_due=True)
    assert judged(ward, 40) == ["ehr/p2"]
    window = scored_window(ward.house, round_at(NIGHT + HOUR))
    assert window["encounter_id"].to_pylist() == ["ehr/p2"]


def test_one_odd_glucose_is_a_finding_on_glucose_and_on_nothing_else(ward: Ward) -> None:
    ward.discharge("p1", NIGHT - 2 * HOUR)
    for number in range(40):
        ward.measure(f"g{number}", "2345-7", NIGHT - number * HOUR)
    ward.quarantine("p1", "2345-7", NIGHT)
    this = round_at(NIGHT + HOUR)
    found = _findings(ward.house, this, taken_results(ward.house, this))
    assert [(each.feature, each.row_count) for each in found] == [("glucose_last_mg_dl", 1)]
    assert not explains(found, "glucose_last_mg_dl")
