"""A folder as somebody hands it in: each stay has a row or a reason by its name, and no other file does."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from flows.house import House
from tests.flows.conftest import Answer, Rounds
from tests.stories.intensive_care import HEAD, NAME, ByHeartRate, IntensiveCare

pytestmark = pytest.mark.xdist_group("sent again")
SCORED, AFTER_48H, NEVER, WEIGHED = "140501", "140513", "140502", "140503"
STAYS = {SCORED: "01:00,HR,90\n", AFTER_48H: "50:00,HR,90\n", NEVER: "", WEIGHED: "00:00,Weight,80\n"}
EMPTY, OTHER_NAMES = "140504", ("1405170", "x0140516", "14051")


@dataclass(frozen=True)
class HandedIn:
    """What the house said of the folder."""

    ingested: dict[str, Any]
    run: dict[str, Any]
    csv: Answer
    json: dict[str, Any]
    table: Answer
    quarantine: Answer


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HandedIn]:
    folder = tmp_path_factory.mktemp("handed_in")
    care = IntensiveCare(Rounds(folder / "home"), folder)
    sent = folder / "sent"
    sent.mkdir()
    for name in (*STAYS, *OTHER_NAMES):
        (sent / f"{name}.txt").write_text(HEAD.format(name=name, age=60) + STAYS.get(name, "01:00,HR,90\n"))
    (sent / f"{EMPTY}.txt").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(House, "model", lambda *_: ByHeartRate())
        done = care.rounds.done
        yield HandedIn(
            ingested=done("ingest", "physionet2012", "--from", str(sent), "--json").json,
            run=care.score(),
            csv=done("scores", NAME, "--csv"),
            json=done("scores", NAME, "--json").json,
            table=done("scores", NAME),
            quarantine=done("quarantine"),
        )


def test_a_name_that_is_not_six_digits_is_that_of_no_stay(handed_in: HandedIn) -> None:
    why = "its name is not that of a stay (six digits and .txt), nor of outcomes"
    assert handed_in.ingested["files_left_out"] == {why: len(OTHER_NAMES)}
    assert handed_in.run["due"] == len(STAYS)


def test_a_stay_of_which_the_48_hours_have_nothing_but_descriptors_has_no_risk(handed_in: HandedIn) -> None:
    rows = list(csv.DictReader(io.StringIO(handed_in.csv.out)))
    assert [(row["source_encounter_id"], row["status"]) for row in rows] == [(SCORED, "scored")]
    assert handed_in.run["reasons"] == {"nothing measured": 3}


def test_who_was_excluded_is_named_with_the_reason(handed_in: HandedIn) -> None:
    named = {row["source_encounter_id"]: row["reasons"] for row in handed_in.json["excluded_rows"]}
    assert named == {name: ["nothing measured"] for name in (AFTER_48H, NEVER, WEIGHED)}
    assert Counter("; ".join(why) for why in named.values()) == handed_in.json["excluded"]
    scored = {row["source_encounter_id"] for row in handed_in.json["scores"]}
    assert scored | named.keys() == STAYS.keys()


def test_the_list_says_beside_it_how_the_excluded_are_seen(handed_in: HandedIn) -> None:
    for said in (handed_in.csv, handed_in.table):
        assert said.err.splitlines() == [
            "excluded, and not in the list: 3 nothing measured",
            f"who they are: rounds scores {NAME} --json, under excluded_rows",
        ]


def test_one_bad_file_is_one_line_though_it_fills_several_tables(handed_in: HandedIn) -> None:
    assert sum(account["quarantined"] for account in handed_in.ingested["accounts"].values()) > 1
    assert [line.split(",")[-1].strip() for line in handed_in.quarantine.out.splitlines() if "is empty" in line] == [
        f"{EMPTY}.txt line 1"
    ]
