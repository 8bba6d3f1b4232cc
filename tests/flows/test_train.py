"""What a training learns from, and what its plan says of that beforehand."""

from flows.build_features import features_of
from flows.train import label_cohort, plan, rows_to_learn_from
from tests.flows.ward import CASE, DAY, HOUR, NIGHT, Ward, round_at


def test_a_plan_leaves_out_the_held_rows_as_the_training_does(ward: Ward) -> None:
    ward.discharge("p1", NIGHT)
    ward.discharge("p2", NIGHT)
    ward.discharge("p2_again", NIGHT + 20 * DAY, patient_id="ehr/p2")
    ward.discharge("still_open", NIGHT + 39 * DAY)
    ward.quarantine("p1", "2345-7", NIGHT - HOUR)
    ward.quarantine("p2", "2345-7", NIGHT - 30 * DAY)  # too old to hold anything
    this = round_at(NIGHT + 60 * DAY)
    frame = features_of(ward.house, this, None, label_cohort(ward.lake(), this).rows)
    rows, held = rows_to_learn_from(ward.house, ward.lake(), this, frame)
    assert (sorted(rows["encounter_id"].to_pylist()), held) == (["ehr/p2", "ehr/p2_again"], 1)
    assert plan(ward.house, CASE.name, this.as_of) == {"rows": 2, "outcomes": 1, "held": 1}
