"""`rounds features explain`: each feature of a patient with the facts it came from, by the command that people type."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from flows.house import House, Snapshot
from integrations.settings import load_settings
from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import write_hospital
from models.catalog import use_case
from models.cohort import cohort, eligible
from tests.flows.conftest import Rounds

USE_CASE = "aki_48h"


@dataclass(frozen=True)
class Nights:
    """A small hospital after two nights, and a patient whose results of the first day came in the second night."""

    rounds: Rounds
    files: Path
    landing: Path
    patient: str
    stay: str
    at: str

    @cached_property
    def told(self) -> Any:
        """What the command says of the patient, with the stay named."""
        asked = (USE_CASE, self.patient, "--as-of", self.at, "--encounter", self.stay)
        return self.rounds.done("features", "explain", *asked, "--json").json


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    folder = tmp_path_factory.mktemp("explain")
    files = write_hospital(Hospital(patients=150, nights=2, scenario="none", seed=4), folder / "files")
    rounds = Rounds(folder / "home")
    before = files.history_taken_at.isoformat()
    rounds.done("ingest", "demo_ehr", "--from", str(files.history), "--history", "--as-of", before)
    for night in files.nights:
        for source, extract in (("demo_ehr", night.ehr), ("demo_lis", night.lis)):
            rounds.done("ingest", source, "--from", str(extract), "--as-of", night.taken_at.isoformat())
    house = House(load_settings({"ROUNDS_HOME": str(rounds.home)}))
    row = newest_eligible(house, files.nights[0].round_at)
    return Nights(
        rounds=rounds,
        files=folder / "files",
        landing=house.settings.landing,
        patient=row["patient_id"],
        stay=row["encounter_id"],
        at=row["prediction_time"].isoformat(),
    )


def newest_eligible(house: House, at: datetime) -> dict[str, Any]:
    snapshot: Snapshot = house.newest_snapshot()
    rows = eligible(cohort(house.open_snapshot(snapshot), use_case(USE_CASE), at)).to_pylist()
    return max(rows, key=lambda row: (row["prediction_time"], row["encounter_id"]))


def test_every_feature_of_the_use_case_has_its_value_and_facts_with_their_place(nights: Nights) -> None:
    told = nights.told
    assert (told["patient_id"], told["encounter_id"]) == (nights.patient, nights.stay)
    assert [f"{each['view']}:{each['name']}" for each in told["features"]] == list(use_case(USE_CASE).features)
    last = next(each for each in told["features"] if each["name"] == "creatinine_last_mg_dl")
    [fact] = [each for each in last["facts"] if each["table"] == "observation"]
    assert (fact["code"], fact["content"]["value_number"]) == ("2160-0", last["value"])
    assert fact["effective_at"] <= fact["available_at"] <= told["prediction_time"]
    [file] = nights.landing.glob(f"*/{fact['extract_id']}/**/{fact['source_file']}")
    lines = file.read_text().replace("\r", "\n").splitlines()
    assert str(last["value"]) in lines[fact["source_line"] - 1]


def test_the_screen_shows_the_same_and_where_each_fact_came_from_once(nights: Nights) -> None:
    told = nights.told
    screen = nights.rounds.done("features", "explain", USE_CASE, nights.patient, "--as-of", nights.at).out
    assert f"patient {nights.patient}, stay {nights.stay}" in screen
    for each in told["features"]:
        assert f"{each['view']}:{each['name']} = " in screen
    places = screen.partition("where these facts came from:")[2].splitlines()
    [place] = [line for line in places if " patient " in line]
    assert "Patient.ndjson line" in place


def test_a_stay_that_is_not_the_patients_and_a_patient_whom_nobody_knows_are_refused_without_their_id(
    nights: Nights,
) -> None:
    asked = ("features", "explain", USE_CASE, nights.patient, "--as-of", nights.at)
    answer = nights.rounds(*asked, "--encounter", "demo_ehr/none")
    assert answer.code == 1
    assert "has no row of this stay of the patient" in answer.err
    answer = nights.rounds("features", "explain", USE_CASE, "demo_ehr/nobody", "--as-of", nights.at)
    assert (answer.code, "nobody has this patient id" in answer.err) == (2, True)
    assert "nobody" not in answer.err.replace("nobody has this patient id", "")


def test_only_facts_of_the_person_are_told(nights: Nights) -> None:
    told = nights.told
    ids = {fact["fact_id"] for each in told["features"] for fact in (*each["facts"], *each["later"])}
    house = House(load_settings({"ROUNDS_HOME": str(nights.rounds.home)}))
    lake = house.open_snapshot(house.newest_snapshot())
    mine = {
        key
        for table, column in (
            ("patient", "patient_id"),
            ("encounter", "encounter_id"),
            ("condition", "condition_id"),
            ("observation", "observation_id"),
        )
        for (key,) in lake.execute(
            f"select t.{column} from {table} as t join same_person as p on p.other_patient_id = t.patient_id "
            "where p.patient_id = ?",
            [nights.patient],
        ).fetchall()
    }
    numbers = lake.execute("select other_patient_id from same_person where patient_id = ?", [nights.patient]).fetchall()
    assert len(ids) > 3
    assert ids <= mine | {number for (number,) in numbers}
