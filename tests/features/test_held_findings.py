"""Which features a blocking finding of the watch holds, for whom, and until when."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import insert

from features.definitions import view
from features.held import held_features, held_outcomes, released_holds
from integrations.duck import connect
from integrations.records import Records
from integrations.records import schema as s
from models.cases import Cases, open_stories
from models.catalog import use_case
from models.scoring import score_rows

INSTANT = pa.timestamp("us", "UTC")
AS_OF = datetime(2024, 1, 20, tzinfo=UTC)
VIEWS = ("recent_labs", "vital_signs")
Ask = Callable[..., list[tuple[str, str]]]
Find = Callable[..., None]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-01-{text}").replace(tzinfo=UTC)


def spine_of(*times: str, patient: str = "p1", site: str = "demo") -> pa.Table:
    return pa.table(
        {
            "site_id": [site] * len(times),
            "patient_id": [f"ehr/000.{patient}"] * len(times),
            "encounter_id": [f"{patient}.e"] * len(times),
            "prediction_time": pa.array([at(time) for time in times], INSTANT),
        }
    )


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """p1 has a creatinine of the 10th at noon, known at 13:00; p2 has none."""
    creatinine = {"patient": "p1", "code": "2160-0", "value_number": 90.0, "effective_at": "2024-01-10T12:00:00"}
    facts = {
        "patient": [{"id": "p1"}, {"id": "p2"}],
        "observation": [{**creatinine, "available_at": "2024-01-10T13:00:00"}],
    }
    cases = {"time_zone": "UTC", "lateness_hours": {"ehr": 24}, "as_of": "2024-06-01"}
    connection = connect(tmp_path / "tmp", threads=1)
    open_stories(
        connection, Cases.model_validate({**cases, "cases": [{"story": "one", "facts": facts, "expect": {}}]}), tmp_path
    )
    yield connection
    connection.close()


@pytest.fixture
def find(sqlite_records: Records, lake: duckdb.DuckDBPyConnection) -> Find:
    """Open a finding on creatinine, of the extract that brought the result, received on the 10th at 13:00."""
    [(extract_id,)] = lake.execute("select distinct extract_id from observation").fetchall()
    values = {"source": "ehr", "site_id": "demo", "received_at": at("10 13:00"), "digest": "x", "status": "committed"}
    with sqlite_records.begin() as db:
        db.execute(insert(s.extract).values(extract_id=extract_id, is_history=0, **values))
        audit = {"at": AS_OF, "kind": "x", "body": "{}", "previous_hash": "", "hash": "x"}
        db.execute(insert(s.audit).values(seq=1, **audit))

    def put(**changes: Any) -> None:
        own = {"source": "ehr", "site_id": "demo", "extract_id": extract_id, "kind": "scale_jump", "subject": "2160-0"}
        own |= {"severity": "blocking", "codes": ["2160-0"], "evidence": {}, "sentence": "", "to_do": ""}
        own |= {"since_at": at("09 13:00"), "opened_at": at("10 13:00"), **changes}
        if "released_at" in own:
            own["released_seq"] = 1
        with sqlite_records.begin() as db:
            [finding_id] = db.execute(insert(s.finding).values(**own)).inserted_primary_key or (0,)
            db.execute(insert(s.finding_extract).values(finding_id=finding_id, extract_id=extract_id))

    return put


@pytest.fixture
def held(sqlite_records: Records, lake: duckdb.DuckDBPyConnection) -> Ask:
    def ask(*times: str, as_of: datetime = AS_OF, **who: str) -> list[tuple[str, str]]:
        with sqlite_records.read() as db:
            found = held_features(db, lake, spine_of(*times, **who), VIEWS, as_of).to_pylist()
        of_view = [row for row in found if not {*row["features"]} <= {*view(row["view"]).longer_hold_windows}]
        return [(f"{row['prediction_time']:%d %H:%M}", f"{row['view']}: {row['reason']}") for row in of_view]

    return ask


JUMP, MIX, GONE = "recent_labs: scale_jump", "recent_labs: unit_mix", "recent_labs: code_vanished"


@pytest.mark.parametrize(("kind", "word"), [("scale_jump", JUMP), ("unit_mix", MIX)])
def test_results_on_another_scale_or_unit_hold_their_own_patient_within_the_hold_window(
    find: Find, held: Ask, kind: str, word: str
) -> None:
    find(kind=kind)
    assert held("10 12:59", "10 13:00", "17 11:59", "17 12:00") == [("10 13:00", word), ("17 11:59", word)]
    assert held("10 13:00", patient="p2") == []


def test_a_code_that_is_gone_holds_every_patient_of_its_site_from_when_it_is_known(find: Find, held: Ask) -> None:
    find(kind="code_vanished")
    for patient in ("p1", "p2"):
        assert held("10 12:59", "10 13:00", "19 00:00", patient=patient) == [("10 13:00", GONE), ("19 00:00", GONE)]
    assert held("10 13:00", site="elsewhere") == []


def test_a_code_that_no_score_needs_flags_those_that_have_a_value_and_holds_the_others(
    find: Find, sqlite_records: Records, lake: duckdb.DuckDBPyConnection
) -> None:
    find(kind="code_vanished", codes=["8867-4"], subject="8867-4")
    spine = pa.concat_tables([spine_of("11 00:00"), spine_of("11 00:00", patient="p2")])
    with sqlite_records.read() as db:
        held = held_features(db, lake, spine, VIEWS, AS_OF)
    case = use_case("aki_48h")
    frame = spine.append_column("horizon_starts_at", pa.nulls(2, INSTANT))
    for name in case.feature_names:
        is_vital = name.startswith(("heart_rate", "systolic", "respiratory", "temperature"))
        frame = frame.append_column(name, pa.array([1.0, None if is_vital else 1.0], pa.float64()))
    rows = score_rows(Half(case.feature_names), frame, case, held)
    assert rows.is_scored.tolist() == [True, False]
    assert dict(rows.reasons) == {0: ("vital_signs: code_vanished",), 1: ("vital_signs: code_vanished",)}


class Half:
    """A scorer to whom everybody is at a risk of a half."""

    version, manifest_hash = 1, "f" * 64

    def __init__(self, feature_names: tuple[str, ...]) -> None:
        self.feature_names = feature_names

    def predict(self, frame: pa.Table) -> Any:
        return np.full(frame.num_rows, 0.5)


def test_a_warning_a_code_of_no_view_and_what_is_found_later_hold_nothing(find: Find, held: Ask) -> None:
    find(severity="warning")
    find(kind="code_vanished", codes=["1988-5"], subject="1988-5")
    find(kind="junk", opened_at=at("15 00:00"))
    assert held("14 00:00") == []
    assert held("16 00:00", as_of=at("14 00:00")) == []
    assert held("16 00:00") == [("16 00:00", "recent_labs: junk")]


def test_a_release_ends_the_hold_from_its_moment_and_not_for_who_asks_as_of_before(find: Find, held: Ask) -> None:
    find(kind="code_vanished", released_at=at("12 06:00"))
    find(released_at=at("12 06:00"))
    before, after = "12 05:59", "12 06:00"
    assert held(before, after) == [(before, GONE), (before, JUMP)]
    assert held("13 00:00", as_of=at("12 05:00")) == [("13 00:00", GONE), ("13 00:00", JUMP)]


def test_who_was_held_is_named_with_the_release_once_nothing_else_holds(
    find: Find, sqlite_records: Records, lake: duckdb.DuckDBPyConnection
) -> None:
    def released(as_of: datetime) -> list[datetime]:
        with sqlite_records.read() as db:
            return released_holds(db, lake, spine_of("11 00:00"), VIEWS, as_of)["released_at"].to_pylist()

    find(kind="code_vanished", released_at=at("12 06:00"))
    assert released(at("12 05:00")) == []
    assert released(at("12 07:00")) == [at("12 06:00")]
    find()
    assert released(at("12 07:00")) == []


def test_an_outcome_is_held_where_its_window_reaches_into_what_is_missing_or_wrong(
    find: Find, sqlite_records: Records, lake: duckdb.DuckDBPyConnection
) -> None:
    def asked(patient: str) -> list[str]:
        spine = spine_of("07 12:00", "07 13:01", "08 12:01", "11 00:00", patient=patient)
        with sqlite_records.read() as db:
            found = held_outcomes(db, lake, spine, ["2160-0"], timedelta(hours=48), AS_OF)
        return [f"{row['prediction_time']:%d %H:%M}" for row in found.to_pylist()]

    find()
    assert asked("p1") == ["08 12:01"]
    assert asked("p2") == []
    find(kind="code_vanished")
    assert asked("p2") == ["07 13:01", "08 12:01", "11 00:00"]
