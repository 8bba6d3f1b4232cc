"""Stays of a feed without a live clock that are sent again, or released from quarantine, are scored anew; no others.

The stays come through the door, the lake and the feature views as any; only the model is told: a thousandth of
the last heart rate.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from features.explained import ExplainedFeature
from flows.anew import HANDED_OVER as HANDED_OVER_ALREADY
from flows.commands.features import _document, _lines
from flows.due import LOWERED
from flows.explained import Explained
from flows.house import House
from integrations.contract import SOURCES
from integrations.records import schema as s
from tests.flows.conftest import Rounds
from tests.stories.intensive_care import (
    AGAIN,
    CORRECTED,
    FIRST,
    HANDED_OVER,
    HELD,
    NAME,
    NOTHING_CHARTED,
    QUEUED,
    RATE,
    SAME,
    SPOILT,
    ByHeartRate,
    IntensiveCare,
)

pytestmark = pytest.mark.xdist_group("sent again")
CHANGED = {
    HELD: ("scored", 0.09),
    CORRECTED: ("scored", 0.1),
    SPOILT: ("held", None),
    NOTHING_CHARTED: ("scored", 0.085),
}


@dataclass(frozen=True)
class Played:
    """What the house said: of the first round, of rounds after nothing came, of the stays sent again, and after it."""

    care: IntensiveCare
    first: dict[str, Any]
    before: dict[str, tuple[str, float | None]]
    of_somebody_else: dict[str, Any]
    explained: Explained  # the corrected stay, sent again and not yet scored again
    plan: dict[str, Any]
    again: dict[str, Any]
    same_again: dict[str, Any]


@pytest.fixture(scope="module")
def told_model() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(House, "model", lambda *_: ByHeartRate())
        yield


@pytest.fixture(scope="module")
def played(told_model: None, tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("again")
    care = IntensiveCare(Rounds(folder / "home"), folder)
    care.send(1, FIRST)
    first, before = care.score(), care.scores()
    care.send(2, {"132007": (50, "01:00,HR,50\n")})
    of_somebody_else = care.score()
    care.to_the_ehr({HANDED_OVER: ("acknowledged", 1), QUEUED: ("queued", 0)})
    care.send(3, FIRST | AGAIN)
    explained, plan, again = care.explain(CORRECTED), care.score("--dry-run"), care.score()
    return Played(care, first, before, of_somebody_else, explained, plan, again, care.score())


def test_the_first_round_scores_holds_and_leaves_out(played: Played) -> None:
    assert [played.first[name] for name in ("due", "scored", "held", "excluded")] == [8, 6, 1, 1]
    other = {name: status for name, (status, _) in played.before.items() if status != "scored"}
    assert other == {HELD: "held", NOTHING_CHARTED: "excluded"}


def test_what_comes_of_somebody_else_makes_nobody_due(played: Played) -> None:
    assert [played.of_somebody_else[name] for name in ("due", "new_scores", "superseded")] == [1, 1, 0]


def test_stays_that_are_sent_again_are_scored_anew_where_that_makes_a_difference(played: Played) -> None:
    assert [played.again[name] for name in ("due", "scored", "held", "new_scores", "superseded")] == [4, 3, 1, 4, 4]
    assert played.care.scores() == {**played.before, "132007": ("scored", 0.05), **CHANGED}


def test_the_scores_before_are_kept_as_they_were(played: Played) -> None:
    assert played.care.scores(s.superseded_score) == {name: played.before[name] for name in CHANGED}
    listed = played.care.rounds.done("scores", NAME, "--superseded", "--json").json["scores"]
    worklist = {name: played.before[name] for name in CHANGED if played.before[name][0] != "excluded"}
    assert {row["source_encounter_id"]: (row["status"], row["probability"]) for row in listed} == worklist


def test_what_was_handed_over_to_the_ehr_stays_and_the_round_says_so(played: Played) -> None:
    assert played.again["left"] == {HANDED_OVER_ALREADY: 1, LOWERED: 1}
    assert played.care.scores()[HANDED_OVER] == ("scored", 0.06)
    assert played.care.scores()[QUEUED] == ("scored", 0.062), "the past does not take the place of a live score"
    with played.care.house.records.read() as connection:
        waiting = connection.execute(select(s.outbox.c.identifier, s.outbox.c.status)).all()
    assert sorted(waiting) == [(HANDED_OVER, "acknowledged"), (QUEUED, "queued")]


def test_the_list_of_those_before_counts_those_who_were_left_out_before(played: Played) -> None:
    listed = {
        more: played.care.rounds.done("scores", NAME, *more, "--json").json["excluded"]
        for more in ((), ("--superseded",))
    }
    assert listed == {(): {}, ("--superseded",): {"nothing measured": 1}}


def test_a_plan_says_what_the_round_then_does(played: Played) -> None:
    assert {**played.plan, "is_plan": False} == played.again


def test_the_same_round_twice_scores_nobody_anew(played: Played) -> None:
    assert [played.same_again[name] for name in ("due", "new_scores", "superseded")] == [0, 0, 0]


def test_features_explain_shows_what_the_score_was_made_of_and_what_has_come_since(played: Played) -> None:
    found = played.explained
    assert found.score is not None
    assert (found.snapshot_id, found.score["probability"]) == (1, 0.08)
    rate, newer = rate_of(found), found.newer[RATE]
    assert (rate.value, newer.value) == (80, 100)
    assert [[fact.content["value_number"] for fact in each.facts] for each in (rate, newer)] == [[80], [100]]
    assert "icu_care:age_charted_years" not in found.newer
    screen = "\n".join(_lines(NAME, found))
    assert "risk 0.08; the values are those it was made of" in screen
    assert f"{RATE} = 80 " in screen
    assert "with what has come in since the score: 100, from:" in screen
    told = next(each for each in _document(NAME, found)["features"] if each["name"] == rate.feature.name)
    assert (told["value"], told["is_other_since"], told["value_since"]) == (80, True, 100)


def test_a_stay_that_a_retry_releases_is_scored(told_model: None, tmp_path: Path) -> None:
    care, wrong = IntensiveCare(Rounds(tmp_path / "home"), tmp_path), shutil.copytree(SOURCES, tmp_path / "sources")
    codes = wrong / "physionet2012" / "codes.csv"
    codes.write_text(codes.read_text().replace(",Creatinine,2160-0,mg/dL,", ",Creatinine,2160-0,umol/L,"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("integrations.contract.SOURCES", wrong)
        care.send(1, {HELD: (60, "01:00,HR,90\n01:00,Creatinine,1.1\n"), SAME: (60, "01:00,HR,80\n")})
    assert (care.score()["scored"], care.scores()[HELD]) == (1, ("held", None))
    care.rounds.done("quarantine", "retry", "physionet2012")
    run = care.score()
    assert (run["due"], run["scored"], run["superseded"]) == (1, 1, 1)
    assert care.scores()[HELD] == ("scored", 0.09)


def test_features_explain_shows_the_values_of_a_view_that_has_been_written_anew_since(played: Played) -> None:
    care, name = played.care, RATE.partition(":")[2]
    with care.house.records.begin() as connection:
        versions = connection.execute(select(s.score.c.view_versions).limit(1)).scalar_one()
        connection.execute(s.score.update().values(view_versions={**versions, "icu_vital_signs": "before"}))
    files = (care.rounds.home / "features" / "offline").glob(f"*/icu_vital_signs/{versions['icu_vital_signs']}/*")
    for file in list(files):
        before = file.parent.with_name("before")
        before.mkdir(exist_ok=True)
        kept = pq.read_table(file)
        values = pa.array([79.0] * kept.num_rows)
        pq.write_table(kept.set_column(kept.column_names.index(name), name, values), before / file.name)
    found = care.explain(SAME)
    assert found.other_views == ("icu_vital_signs",)
    assert (rate_of(found).value, rate_of(found).facts, found.newer[RATE].value) == (79, (), 70)
    assert "icu_vital_signs was another SQL then: its values are those that were kept" in "\n".join(_lines(NAME, found))
    shutil.rmtree(before)
    lost = care.explain(SAME)
    assert (lost.lost_views, rate_of(lost).value, RATE in lost.newer) == (("icu_vital_signs",), None, False)
    screen = "\n".join(_lines(NAME, lost))
    assert f"{RATE} = not kept any more" in screen
    assert "what it gave is not kept any more" in screen
    assert not next(each for each in _document(NAME, lost)["features"] if each["view"] == "icu_vital_signs")["is_kept"]


def rate_of(found: Explained) -> ExplainedFeature:
    return next(each for each in found.features if f"{each.view}:{each.feature.name}" == RATE)
