"""Who gets a probability, who is held and why, and how scores come to rest."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import func, insert, select

from integrations.errors import NotInOrder
from integrations.records import Records
from integrations.records import schema as s
from models.score_records import (
    Circumstances,
    RunAccount,
    Written,
    account_of,
    add_to_run,
    excluded_by_reason,
    is_counted,
    score_id,
    write_scores,
)
from models.scoring import ScoredRows, excluded_rows, rows_to_explain, score_rows
from tests.models.made import INSTANT, NIGHT, USE_CASE, cohort, holds

VIEWS = {"labs": "0a1b2c3d4e5f"}


@dataclass
class Told:
    """A scorer that says what it is told, and remembers who it was asked for."""

    risks: list[float]
    version: int = 1
    manifest_hash: str = "f" * 64
    feature_names: tuple[str, ...] = USE_CASE.feature_names
    asked: list[str] = field(default_factory=list)

    def predict(self, frame: pa.Table) -> Any:
        self.asked = frame["encounter_id"].to_pylist()
        return np.array(self.risks[: frame.num_rows])


@pytest.fixture
def frame() -> pa.Table:
    """Four due rows; the second has no sodium."""
    rows = cohort(4, seed=2)
    for name, values in (("creatinine_mg_dl", [1.0, 1.1, 1.2, 1.3]), ("sodium_mmol_l", [140.0, None, 138.0, 139.0])):
        rows = rows.set_column(rows.column_names.index(name), name, [values])
    for name in ("age_years", "is_female", "noise", "pulse"):
        rows = rows.set_column(rows.column_names.index(name), name, [[1.0] * 4])
    return rows


def without(frame: pa.Table, name: str, row: int) -> pa.Table:
    values = frame[name].to_pylist()
    values[row] = None
    return frame.set_column(frame.column_names.index(name), name, pa.array(values, pa.float64()))


def due(frame: pa.Table, row: int) -> tuple[str, datetime]:
    return frame["encounter_id"][row].as_py(), frame["prediction_time"][row].as_py()


def scored(frame: pa.Table, held: pa.Table | None = None, **changes: Any) -> ScoredRows:
    rows = score_rows(Told([0.05, 0.10, 0.25, 0.249]), frame, USE_CASE, holds() if held is None else held)
    return replace(rows, **changes)


def under(purpose: str, run_id: str = "run-1") -> Circumstances:
    return Circumstances(
        run_id=run_id, purpose=purpose, stage=purpose, view_versions=VIEWS, snapshot_id=1, scored_at=NIGHT
    )


def identifier(site_id: str, encounter_id: str, prediction_time: datetime) -> str:
    return f"{site_id}|{encounter_id}|{prediction_time.isoformat()}"


def write(records: Records, rows: ScoredRows, purpose: str, **more: Any) -> Written:
    asked = {"explanations": {}, "identifier": identifier} | more
    with records.begin(dry_run=asked.pop("dry_run", False)) as connection:
        return write_scores(connection, rows, under(purpose, asked.pop("run_id", "run-1")), **asked)


def counts(records: Records) -> tuple[int, int]:
    with records.read() as connection:
        return tuple(connection.execute(select(func.count()).select_from(t)).scalar_one() for t in (s.score, s.outbox))


@pytest.fixture
def started(records: Records) -> Records:
    """Records in which two runs have begun."""
    with records.begin() as connection:
        connection.execute(insert(s.snapshot).values(snapshot_id=1, created_at=NIGHT, versions={}))
        for run_id in ("run-1", "run-2"):
            connection.execute(
                insert(s.run).values(run_id=run_id, kind="score", as_of=NIGHT, started_at=NIGHT, status="running")
            )
    return records


def test_a_band_begins_at_its_limit_and_so_does_the_threshold(frame: pa.Table) -> None:
    rows = scored(frame)
    assert rows.band == ["low", "moderate", "high", "moderate"]
    assert rows.is_at_or_above_threshold.tolist() == [False, False, True, False]
    assert rows.probability.tolist() == [0.05, 0.10, 0.25, 0.249]
    assert rows.reasons == {}
    assert rows.keys.column_names == ["site_id", "patient_id", "encounter_id", "prediction_time", "horizon_starts_at"]


def test_an_optional_value_that_was_never_measured_is_no_reason_to_hold(frame: pa.Table) -> None:
    assert scored(frame).is_scored.all()


@pytest.mark.parametrize("unmeasured", [None, float("nan")])
def test_a_row_whose_required_feature_was_not_measured_is_excluded_and_never_shown_to_the_model(
    frame: pa.Table, unmeasured: float | None
) -> None:
    values = pa.array([1.0, 1.1, unmeasured, 1.3], pa.float64())
    frame = frame.set_column(frame.column_names.index("creatinine_mg_dl"), "creatinine_mg_dl", values)
    scorer = Told([0.05, 0.10, 0.249])
    rows = score_rows(scorer, frame, USE_CASE, holds())
    assert rows.is_excluded.tolist() == [False, False, True, False]
    assert len(scorer.asked) == 3
    assert due(frame, 2)[0] not in scorer.asked
    assert (np.isnan(rows.probability[2]), rows.band[2], bool(rows.is_at_or_above_threshold[2])) == (True, None, False)
    assert account_of(rows) == RunAccount(scored=3, excluded=1, reasons={"labs: creatinine_mg_dl not measured": 1})


def test_a_required_feature_that_is_held_is_held_and_not_called_unmeasured(frame: pa.Table) -> None:
    held = holds((*due(frame, 2), "labs", "unknown_unit"))
    account = account_of(score_rows(Told([0.05] * 3), without(frame, "creatinine_mg_dl", 2), USE_CASE, held))
    assert account == RunAccount(scored=3, held=1, reasons={"labs: unknown_unit": 1})


def test_where_nothing_required_was_measured_the_model_is_not_asked(frame: pa.Table) -> None:
    nothing = frame.set_column(frame.column_names.index("creatinine_mg_dl"), "creatinine_mg_dl", pa.nulls(4))
    scorer = Told([])
    assert account_of(score_rows(scorer, nothing, USE_CASE, holds())).excluded == 4
    assert scorer.asked == []


def test_where_nothing_is_required_only_a_row_with_nothing_is_excluded(frame: pa.Table) -> None:
    optional = replace(USE_CASE, required=(), descriptors=("stay:age_years", "stay:is_female"))
    for name in optional.measured:
        frame = without(frame, name, 1)
    frame = without(frame, optional.measured[0], 2)
    assert not np.isnan(frame["age_years"].to_numpy()).any(), "a descriptor, which is no measurement"
    scorer = Told([0.05] * 3)
    account = account_of(score_rows(scorer, frame, optional, holds()))
    assert account == RunAccount(scored=3, excluded=1, reasons={"nothing measured": 1})
    assert due(frame, 1)[0] not in scorer.asked


def test_an_excluded_row_is_noted_once_without_a_probability_and_never_goes_to_the_ehr(
    frame: pa.Table, started: Records
) -> None:
    cohort_rows = frame.append_column("excluded_reason", pa.array(["died", "died", "under_18", "died"]))
    rows = excluded_rows(Told([]), cohort_rows, USE_CASE)
    assert account_of(rows) == RunAccount(excluded=4, reasons={"died": 3, "under_18": 1})
    noted = {"died": 3, "under_18": 1}
    assert write(started, rows, "live") == Written(scores=4, outbox=0, already_there=0)
    assert write(started, rows, "live", run_id="run-2") == Written(scores=0, outbox=0, already_there=4)
    with started.read() as connection:
        kept = connection.execute(select(s.score).order_by(s.score.c.encounter_id)).mappings().all()
        assert excluded_by_reason(connection, USE_CASE.name) == noted
        assert excluded_by_reason(connection, "another") == {}
    assert {(row["status"], row["probability"], row["band"]) for row in kept} == {("excluded", None, None)}
    assert [row["reasons"] for row in kept] == [["died"], ["died"], ["under_18"], ["died"]]


def test_where_the_horizon_starts_is_kept_with_the_score(frame: pa.Table, started: Records) -> None:
    starts = [due(frame, 0)[1] - timedelta(hours=9), None, None, None]
    at = frame.column_names.index("horizon_starts_at")
    write(started, scored(frame.set_column(at, "horizon_starts_at", pa.array(starts, INSTANT))), "live")
    with started.read() as connection:
        kept = connection.execute(select(s.score.c.horizon_starts_at).order_by(s.score.c.encounter_id)).scalars().all()
    assert kept == starts


def test_a_held_required_feature_holds_the_score_and_the_model_never_sees_the_row(frame: pa.Table) -> None:
    scorer = Told([0.05, 0.10, 0.25])
    rows = score_rows(scorer, frame, USE_CASE, holds((*due(frame, 0), "labs", "unknown_unit")))
    assert rows.is_held.tolist() == [True, False, False, False]
    assert scorer.asked == frame["encounter_id"].to_pylist()[1:]
    assert np.isnan(rows.probability[0])
    assert (rows.band[0], bool(rows.is_at_or_above_threshold[0])) == (None, False)
    assert rows.reasons == {0: ("labs: unknown_unit",)}
    assert rows.probability[1:].tolist() == [0.05, 0.10, 0.25]


def test_a_held_optional_feature_with_a_value_flags_the_score(frame: pa.Table) -> None:
    optional = replace(USE_CASE, required=("stay:age_years",))
    held = holds((*due(frame, 0), "labs", "unknown_unit"), (*due(frame, 0), "labs", "bad_value"))
    rows = score_rows(Told([0.05] * 4), frame, optional, held)
    assert not rows.is_held.any()
    assert rows.reasons == {0: ("labs: bad_value", "labs: unknown_unit")}


def test_a_result_in_quarantine_holds_only_the_features_that_draw_on_its_code(frame: pa.Table) -> None:
    optional = replace(USE_CASE, required=())
    unmeasured = without(frame, "creatinine_mg_dl", 0)
    of_sodium = holds((*due(frame, 0), "labs", "unknown_unit"), only=("sodium_mmol_l",))
    of_creatinine = holds((*due(frame, 0), "labs", "unknown_unit"), only=("creatinine_mg_dl",))
    assert not score_rows(Told([0.05] * 4), unmeasured, optional, of_sodium).is_held.any()
    assert score_rows(Told([0.05] * 3), unmeasured, optional, of_creatinine).is_held.tolist() == [True, *[False] * 3]


@pytest.mark.parametrize("row", [1, 2])
def test_a_held_feature_without_a_value_is_not_shown_as_not_measured(frame: pa.Table, row: int) -> None:
    optional = replace(USE_CASE, required=("stay:age_years",))
    frame = without(frame, "creatinine_mg_dl", 2)
    rows = score_rows(Told([0.05] * 4), frame, optional, holds((*due(frame, row), "labs", "unknown_unit")))
    assert np.flatnonzero(rows.is_held).tolist() == [row]


def test_a_hold_on_another_prediction_time_or_view_concerns_nobody_here(frame: pa.Table) -> None:
    held = holds((due(frame, 0)[0], NIGHT, "labs", "unknown_unit"), (*due(frame, 1), "imaging", "bad_time"))
    rows = scored(frame, held)
    assert not rows.is_held.any()
    assert rows.reasons == {}, "nothing that this model takes is held"


def test_nobody_due_is_a_normal_day(frame: pa.Table, started: Records) -> None:
    rows = scored(frame.slice(0, 0))
    assert (rows.band, len(rows.probability)) == ([], 0)
    assert write(started, rows, "live") == Written(scores=0, outbox=0, already_there=0)
    assert account_of(rows) == RunAccount()


@pytest.mark.parametrize("risks", [[0.1, 0.2], [0.1, 0.2, 0.3, 1.2], [0.1, 0.2, 0.3, float("nan")]])
def test_an_answer_that_is_not_one_probability_per_row_is_refused(frame: pa.Table, risks: list[float]) -> None:
    with pytest.raises(NotInOrder, match="back_soon: the model answered"):
        score_rows(Told(risks), frame, USE_CASE, holds())


def test_rows_to_act_upon_are_explained_and_all_that_go_to_the_ehr(frame: pa.Table) -> None:
    rows = scored(frame, holds((*due(frame, 3), "labs", "unknown_unit")))
    assert rows_to_explain(rows, is_written_back=False) == [2]
    assert rows_to_explain(rows, is_written_back=True) == [0, 1, 2]


def test_a_live_score_and_its_letter_come_to_rest_together(frame: pa.Table, started: Records) -> None:
    rows = scored(frame, holds((*due(frame, 3), "labs", "unknown_unit")))
    told = [{"feature": "age_years", "value": None, "contribution": 0.5}]
    assert write(started, rows, "live", explanations={2: told}) == Written(scores=4, outbox=3, already_there=0)
    with started.read() as connection:
        kept = connection.execute(select(s.score).order_by(s.score.c.encounter_id)).mappings().all()
        letters = connection.execute(select(s.outbox)).mappings().all()
    assert [row["status"] for row in kept] == ["scored", "scored", "scored", "held"]
    assert [row["probability"] for row in kept] == [0.05, 0.10, 0.25, None]
    assert [row["is_at_or_above_threshold"] for row in kept] == [0, 0, 1, None]
    assert [row["reasons"] for row in kept] == [[], [], [], ["labs: unknown_unit"]]
    assert [row["explanation"] for row in kept] == [None, None, told, None]
    assert [row["source_encounter_id"] for row in kept] == ["e0", "e1", "e2", "e3"]
    assert [row["prediction_time"] for row in kept] == frame["prediction_time"].to_pylist()
    assert kept[0]["view_versions"] == VIEWS
    assert {letter["score_id"] for letter in letters} == {row["score_id"] for row in kept[:3]}
    assert {letter["identifier"] for letter in letters} == {identifier("demo", *due(frame, row)) for row in range(3)}
    assert {(letter["status"], letter["attempts"], letter["queued_at"]) for letter in letters} == {("queued", 0, NIGHT)}


@pytest.mark.parametrize("purpose", ["silent", "shadow", "backfill"])
def test_only_live_scores_are_written_back(frame: pa.Table, started: Records, purpose: str) -> None:
    assert write(started, scored(frame), purpose) == Written(scores=4, outbox=0, already_there=0)
    assert counts(started) == (4, 0)


def test_scoring_the_same_again_adds_nothing(frame: pa.Table, started: Records) -> None:
    write(started, scored(frame.slice(0, 3)), "live")
    again = write(started, scored(frame), "live", run_id="run-2")
    assert again == Written(scores=1, outbox=1, already_there=3)
    assert write(started, scored(frame), "live") == Written(scores=0, outbox=0, already_there=4)
    assert counts(started) == (4, 4)


def test_another_purpose_or_version_is_another_score_but_the_ehr_hears_of_it_once(
    frame: pa.Table, started: Records
) -> None:
    write(started, scored(frame), "live")
    assert write(started, scored(frame), "silent").scores == 4
    newer = write(started, scored(frame, version=2), "live", run_id="run-2")
    assert newer == Written(scores=4, outbox=0, already_there=0)


def test_the_id_of_a_score_is_what_it_was_when_the_first_one_was_written(frame: pa.Table, started: Records) -> None:
    at = pa.array([datetime(2024, 7, 1, 6, 30, 0, number, tzinfo=UTC) for number in range(4)], INSTANT)
    timed = frame.set_column(frame.column_names.index("prediction_time"), "prediction_time", at)
    write(started, scored(timed), "live")
    with started.read() as connection:
        ids = connection.execute(select(s.score.c.score_id).order_by(s.score.c.prediction_time)).scalars().all()
    assert ids[:2] == ["bba0f714b5ab6a083f71e947d02e8b85", "ee2430c68955c2dec29316ddd82e8b8e"]
    key = ("demo", USE_CASE.name, "ehr/e0", datetime(2024, 7, 1, 6, 30, tzinfo=UTC), 1, "live")
    others = ("b", "b", "b", datetime(2024, 7, 1, 6, 30, 0, 5, tzinfo=UTC), 2, "silent")
    changed = {score_id(*key[:part], other, *key[part + 1 :]) for part, other in enumerate(others)}
    assert len({score_id(*key), *changed}) == 7


def test_a_held_score_is_final_for_its_prediction_time(frame: pa.Table, started: Records) -> None:
    write(started, scored(frame, holds((*due(frame, 0), "labs", "unknown_unit"))), "live")
    after_release = write(started, scored(frame), "live", run_id="run-2")
    assert after_release == Written(scores=0, outbox=0, already_there=4)
    assert counts(started) == (4, 3)


def test_a_dry_run_counts_the_same_and_leaves_nothing(frame: pa.Table, started: Records) -> None:
    assert write(started, scored(frame), "live", dry_run=True) == Written(scores=4, outbox=4, already_there=0)
    assert counts(started) == (0, 0)


def test_when_the_letter_cannot_be_written_there_is_no_score_either(frame: pa.Table, started: Records) -> None:
    def broken(_site: str, _encounter: str, _at: datetime) -> str:
        raise RuntimeError("the namespace cannot be read")

    with pytest.raises(RuntimeError, match="namespace"):
        write(started, scored(frame), "live", identifier=broken)
    assert counts(started) == (0, 0)


def test_a_run_that_balances_is_noted_with_its_reasons(frame: pa.Table, started: Records) -> None:
    rows = scored(frame, holds((*due(frame, 0), "labs", "unknown_unit"), (*due(frame, 1), "labs", "unknown_unit")))
    account = account_of(rows) + RunAccount(scored=1, excluded=4, reasons={"dialysis": 4})
    with started.begin() as connection:
        add_to_run(connection, "run-1", account, due=9, purpose="live", version=1, snapshot_id=1)
    with started.read() as connection:
        kept = connection.execute(select(s.run).where(s.run.c.run_id == "run-1")).mappings().one()
    assert (kept["due"], kept["scored"], kept["held"], kept["excluded"]) == (9, 3, 2, 4)
    assert kept["reasons"] == {"labs: unknown_unit": 2, "dialysis": 4}
    assert sum(kept["reasons"].values()) == kept["held"] + kept["excluded"]
    assert (kept["purpose"], kept["version"]) == ("live", 1)


def test_a_run_counts_a_row_once_though_a_second_copy_of_its_part_lives(frame: pa.Table, started: Records) -> None:
    rows, mine = scored(frame), under("live")
    with started.begin() as connection:
        assert not is_counted(connection, rows, mine)
    write(started, rows, "live")
    with started.begin() as connection:
        assert is_counted(connection, rows, mine)
        assert not is_counted(connection, rows, replace(mine, run_id="run-2"))


def test_a_run_that_lost_a_row_is_not_noted(frame: pa.Table, started: Records) -> None:
    account = account_of(scored(frame))
    with (
        pytest.raises(NotInOrder, match="5 rows were due; 4 were scored, 0 held, 0 excluded"),
        started.begin() as connection,
    ):
        add_to_run(connection, "run-1", account, due=5, purpose="live", version=1, snapshot_id=1)
    with started.read() as connection:
        assert connection.execute(select(s.run.c.due).where(s.run.c.run_id == "run-1")).scalar_one() is None
