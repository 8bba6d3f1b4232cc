"""What counts as drift, what as a fault of the data, and what only as one odd week."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import insert, select

from integrations.duck import connect
from integrations.records import Records
from integrations.records.schema import breach, extract, quarantine, verdict
from integrations.snapshot import Feed
from models.cases import open_facts
from models.monitoring.breach import set_breach_status
from models.monitoring.findings import Finding, explains, quarantine_findings, taken_counts
from models.monitoring.reference import build_reference
from models.monitoring.result import MonitoringResult
from models.monitoring.verdict import judge_window
from models.use_case import UseCase
from tests.models.monitoring.conftest import FEATURES, NIGHT, Watch, rows

SHIFTED = {"creatinine_times": 3.0}


def at(night: int, count: int = 400, **changes: Any) -> pa.Table:
    return rows(count, seed=10 + night, end=NIGHT + timedelta(days=night), **changes)


def words(result: MonitoringResult) -> dict[tuple[str, str], str]:
    return {(each.metric, each.subject): each.verdict for each in result.verdicts}


def open_(result: MonitoringResult) -> list[tuple[str, str]]:
    return [(each.kind, each.subject) for each in result.breaches]


def test_a_quiet_week_is_in_order_and_every_figure_is_kept(watch: Watch, sqlite_records: Records) -> None:
    result = watch(0, at(0))
    assert result.headline == "In order."
    assert set(words(result).values()) == {"in order", "not enough data"}
    with sqlite_records.read() as connection:
        kept = connection.execute(select(verdict.c.metric, verdict.c.subject, verdict.c.row_count)).all()
    assert len(kept) == 3 * 2 + 1 + 3
    assert ("psi", "age_years", 400) in kept


def test_one_odd_week_is_no_breach(watch: Watch) -> None:
    watch(0, at(0))
    result = watch(1, at(1, **SHIFTED))
    assert words(result)["psi", "creatinine_last_mg_dl"] == "breach"
    assert (result.breaches, result.command) == ((), None)
    assert "not yet often enough" in result.headline
    assert open_(watch(2, at(2))) == []


def test_two_of_the_last_three_windows_open_drift_and_name_the_command(watch_both: Watch) -> None:
    watch_both(0, at(0, **SHIFTED))
    watch_both(1, at(1))
    result = watch_both(2, at(2, **SHIFTED))
    assert open_(result) == [("drift", "creatinine_last_mg_dl")]
    assert result.breaches[0].sentence.startswith("In 2 of the last 3 windows. The spread of creatinine_last_mg_dl has")
    assert result.command == "rounds train readmission_30d"
    assert "Open since 2024-07-17, drift: creatinine_last_mg_dl." in result.sentences


def test_two_old_windows_without_the_newest_open_nothing(watch: Watch) -> None:
    watch(0, at(0, **SHIFTED))
    watch(1, at(1))
    assert open_(watch(3, at(3))) == []


def test_a_window_judged_twice_counts_once(watch: Watch) -> None:
    watch(0, at(0, **SHIFTED))
    assert open_(watch(0, at(0, **SHIFTED))) == []


def test_two_runs_of_one_night_are_one_window_and_the_last_one_counts(watch_both: Watch) -> None:
    watch_both(0, at(0, **SHIFTED))
    assert open_(watch_both(0, at(0, **SHIFTED), later=timedelta(seconds=40))) == []
    watch_both(0, at(0), later=timedelta(hours=2))
    assert open_(watch_both(1, at(1, **SHIFTED))) == []
    assert open_(watch_both(2, at(2, **SHIFTED))) == [("drift", "creatinine_last_mg_dl")]


def test_a_night_ends_at_midnight_of_the_hospital(watch: Watch) -> None:
    before_midnight = timedelta(hours=-1, minutes=-30)  # 23:30 of the day before in Chicago, the same day in UTC
    watch(0, at(0, **SHIFTED), later=before_midnight)
    assert open_(watch(0, at(0, **SHIFTED))) == [("drift", "creatinine_last_mg_dl")]


def test_another_version_has_windows_of_its_own(watch: Watch) -> None:
    watch(0, at(0, **SHIFTED), version=2)
    assert open_(watch(1, at(1, **SHIFTED), version=3)) == []


def test_a_breach_is_told_once_and_closed_when_three_windows_are_quiet(watch: Watch, sqlite_records: Records) -> None:
    watch(0, at(0, **SHIFTED))
    first = watch(1, at(1, **SHIFTED))
    with sqlite_records.begin() as connection:
        set_breach_status(connection, [each.breach_id for each in first.to_emit], "emitted")
    again = watch(2, at(2, **SHIFTED))
    assert (len(again.breaches), again.to_emit) == (1, ())
    for night in (3, 4):
        assert open_(watch(night, at(night))) == [("drift", "creatinine_last_mg_dl")]
    assert open_(watch(5, at(5, 50))) == [("drift", "creatinine_last_mg_dl")]
    assert open_(watch(6, at(6))) == []
    with sqlite_records.read() as connection:
        assert connection.execute(select(breach.c.status)).scalars().all() == ["closed"]


def test_an_input_that_goes_missing_is_a_data_fault_and_does_not_train(watch: Watch) -> None:
    watch(0, at(0, unmeasured=0.5))
    result = watch(1, at(1, unmeasured=0.5))
    assert words(result)["missing", "creatinine_last_mg_dl"] == "breach"
    assert open_(result) == [("data fault", "creatinine_last_mg_dl")]
    assert result.command is None
    assert "do not retrain" in result.headline


def test_quarantined_rows_on_the_same_input_make_it_a_data_fault(watch: Watch) -> None:
    found = (Finding(feature="creatinine_last_mg_dl", reason="suspect_batch", row_count=31, share=0.31),)
    watch(0, at(0, **SHIFTED))
    drifted = watch(1, at(1, **SHIFTED))
    faulty = watch(2, at(2, **SHIFTED), findings=found)
    assert open_(drifted) == [("drift", "creatinine_last_mg_dl")]
    assert open_(faulty) == [("data fault", "creatinine_last_mg_dl")]
    assert "31 rows suspect_batch on its codes, 31% of them" in faulty.breaches[0].sentence


@pytest.mark.parametrize(("shares", "kind"), [((0.049,), "drift"), ((0.03, 0.02), "data fault")])
def test_a_few_quarantined_rows_do_not_explain_a_real_drift(watch: Watch, shares: tuple[float, ...], kind: str) -> None:
    found = tuple(
        Finding(feature="creatinine_last_mg_dl", reason=reason, row_count=3, share=share)
        for reason, share in zip(("unknown_unit", "impossible_value"), shares, strict=False)
    )
    watch(0, at(0, **SHIFTED), findings=found)
    assert open_(watch(1, at(1, **SHIFTED), findings=found)) == [(kind, "creatinine_last_mg_dl")]


def test_a_finding_on_another_input_changes_nothing(watch: Watch) -> None:
    found = (Finding(feature="age_years", reason="impossible_value", row_count=3, share=0.5),)
    watch(0, at(0, **SHIFTED), findings=found)
    assert open_(watch(1, at(1, **SHIFTED), findings=found)) == [("drift", "creatinine_last_mg_dl")]


def test_risks_that_move_alone_are_drift_and_with_a_faulty_input_are_not(watch: Watch) -> None:
    def with_low_risks(night: int, **changes: Any) -> pa.Table:
        table = at(night, **changes)
        low = rows(400, seed=night).column("probability").to_numpy() / 4
        return table.set_column(table.column_names.index("probability"), "probability", [low])

    watch(0, with_low_risks(0))
    assert open_(watch(1, with_low_risks(1))) == [("drift", "prediction")]
    both = watch(2, with_low_risks(2, unmeasured=0.5))
    assert ("data fault", "prediction") in open_(both)


def test_too_few_rows_are_said_and_not_judged(watch: Watch) -> None:
    result = watch(0, at(0, 199, **SHIFTED))
    assert set(words(result).values()) == {"not enough data"}
    assert result.headline == "Too few rows to judge the inputs."
    assert watch(1, at(1, 0)).verdicts[0].figure is None


def test_a_version_without_frozen_predictions_is_judged_by_its_inputs(use_case: UseCase) -> None:
    frame = rows(300, seed=2)
    reference = build_reference(frame.drop_columns(["probability"]), FEATURES, resamples=5)
    verdicts = judge_window(frame, reference, use_case.monitoring)
    assert {each.metric for each in verdicts} == {"psi", "missing"}
    assert {each.verdict for each in verdicts} == {"in order"}


def test_rows_outside_the_seven_nights_are_left_out(watch: Watch) -> None:
    old = rows(300, seed=5, end=NIGHT - timedelta(days=7))
    assert watch(0, old).row_count == 0


def test_matured_outcomes_are_judged_by_the_gate(watch: Watch) -> None:
    good = watch(0, at(0), matured=rows(900, seed=3))
    assert words(good)["auroc", "prediction"] == words(good)["observed_expected", "prediction"] == "in order"
    worthless = words(watch(1, at(1), matured=rows(900, seed=3, risk_is_worth=False)))
    assert worthless["auroc", "prediction"] == "breach"
    assert worthless["observed_expected", "prediction"] == "in order"
    assert (
        words(watch(2, at(2), matured=rows(900, seed=3, outcome_times=2.0)))["observed_expected", "prediction"]
        == "breach"
    )
    fewer = watch(3, at(3), matured=rows(2000, seed=3, outcome_times=0.5))
    assert words(fewer)["observed_expected", "prediction"] == "breach"
    assert open_(fewer) == [("drift", "observed_expected")]
    assert any("fewer outcomes than the risks say" in each for each in fewer.sentences)


@pytest.mark.parametrize("count", [199, 0])
def test_few_outcomes_are_not_enough_data(watch: Watch, count: int) -> None:
    result = watch(0, at(0), matured=rows(count, seed=3))
    assert words(result)["auroc", "prediction"] == "not enough data"
    assert any("too few to judge" in each for each in result.sentences)


def test_a_label_that_is_still_open_is_no_outcome(watch: Watch) -> None:
    later = rows(900, seed=3, end=NIGHT + timedelta(days=30))
    result = watch(0, at(0), matured=later)
    assert {each.row_count for each in result.verdicts if each.metric == "auroc"} == {0}


def test_quarantine_is_counted_on_the_codes_of_each_input_within_the_window(sqlite_records: Records) -> None:
    day = timedelta(days=1)
    arrived = [
        ("2160-0", "suspect_batch", NIGHT - day, NIGHT),
        ("2160-0", "suspect_batch", None, NIGHT - day),
        ("2160-0", "bad_time", NIGHT - day, NIGHT),
        ("2160-0", "suspect_batch", NIGHT - 20 * day, NIGHT - 19 * day),
        ("718-7", "unknown_unit", NIGHT - day, NIGHT + day),
        (None, "unknown_code", NIGHT - day, NIGHT),
    ]
    with sqlite_records.begin() as connection:
        values = {"source": "demo_lis", "received_at": NIGHT, "digest": "d"}
        connection.execute(
            insert(extract).values(extract_id="x", site_id="demo", is_history=0, status="committed", **values)
        )
        for line, (code, reason, effective_at, quarantined_at) in enumerate(arrived):
            place = {"extract_id": "x", "source": "demo_lis", "table_name": "observation", "source_file": "f"}
            what = {"reason": reason, "detail": "", "record_hash": "", "bytes": b"", "code": code}
            when = {"effective_at": effective_at, "quarantined_at": quarantined_at, "source_line": line}
            connection.execute(insert(quarantine).values(**place, **what, **when))
    codes = {"creatinine_last_mg_dl": {"2160-0"}, "hemoglobin_last_g_dl": {"718-7"}, "age_years": set[str]()}
    with sqlite_records.read() as connection:
        window = {"window_start": NIGHT - 7 * day, "window_end": NIGHT}
        found = quarantine_findings(connection, codes, {"2160-0": 38, "777-3": 9}, **window)
    assert found == [
        Finding(feature="creatinine_last_mg_dl", reason="suspect_batch", row_count=2, share=0.05),
        Finding(feature="hemoglobin_last_g_dl", reason="unknown_unit", row_count=1, share=1.0),
    ]
    assert explains(found, "creatinine_last_mg_dl")
    assert not explains(found, "age_years")


def test_results_that_came_through_are_counted_once_by_their_collection_in_the_window(tmp_path: Path) -> None:
    head = {"source": "lis", "site_id": "demo", "patient_id": "lis/p", "extract_id": "x", "is_retracted": False}
    hour = timedelta(hours=1)
    told = [
        ("o1", "2160-0", NIGHT - 9 * hour, NIGHT - 8 * hour),
        ("o1", "2160-0", NIGHT - 9 * hour, NIGHT - 7 * hour),  # corrected
        ("o2", "2160-0", NIGHT, NIGHT),
        ("o3", "2160-0", NIGHT - timedelta(days=7), NIGHT - 8 * hour),
        ("o4", "2160-0", NIGHT - hour, NIGHT + hour),
        ("o5", "2160-0", NIGHT + hour, NIGHT),
        ("o6", "718-7", NIGHT - hour, NIGHT),
        ("o7", "777-3", NIGHT - hour, NIGHT),
    ]
    observations = []
    for line, (key, code, effective_at, available_at) in enumerate(told, 1):
        result = {"observation_id": f"lis/{key}", "code": code, "effective_at": effective_at}
        observations.append(head | result | {"available_at": available_at, "source_file": "f", "source_line": line})
    lake = connect(tmp_path / "tmp", threads=1)
    feed = Feed(source="lis", site_id="demo", time_zone="UTC", lateness=hour)
    open_facts(lake, {"observation": observations}, [feed], tmp_path)
    window = {"window_start": NIGHT - timedelta(days=7), "window_end": NIGHT}
    assert taken_counts(lake, {"2160-0", "718-7"}, **window) == {"2160-0": 2, "718-7": 1}
