"""The watch within an ingest: figures and findings come to rest with the commit, once; feeds that do not come."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from integrations.contract import load_contract
from integrations.errors import RoundsError
from integrations.records import schema as s
from integrations.synthetic_hospital.calendar import extract_taken_at
from integrations.synthetic_hospital.hospital import Hospital
from integrations.watch.conversions import named_conversion
from integrations.watch.freshness import overdue
from integrations.watch.kept import findings
from tests.integrations.ingest.conftest import (
    Ward,
    empty_ward,
    encounter,
    make_ward,
    open_ward,
    patient,
    result,
    ward,
    warm_ward,
)
from tests.integrations.watch.conftest import OpenFeed

__all__ = ["empty_ward", "make_ward", "open_ward", "ward", "warm_ward"]
HOUR = timedelta(hours=1)


def figures(ward: Ward) -> list[tuple[Any, ...]]:
    f = s.watch_figure.c
    with ward.records.read() as db:
        query = select(f.extract_id, f.kind, f.subject, f.value_count, f.patient_count).order_by(*list(f)[:4])
        return [tuple(row) for row in db.execute(query)]


def test_figures_rest_with_the_commit_and_the_same_bytes_add_nothing(open_ward: Ward) -> None:
    sent = open_ward.extract(Observation=[result("o1"), result("o2", value=2.0)])
    done = open_ward.ingest(sent, night=1)
    after = figures(open_ward)
    assert (done.extract_id, "code", "2160-0", 2, 1) in after
    assert not open_ward.ingest(sent, night=2).is_new
    assert figures(open_ward) == after


def test_a_dry_run_leaves_no_figure(open_ward: Ward) -> None:
    before = figures(open_ward)
    open_ward.ingest(open_ward.extract(Observation=[result("o1")]), night=1, dry_run=True)
    assert figures(open_ward) == before


def test_an_ingest_that_is_not_committed_leaves_neither_figure_nor_finding(open_ward: Ward, monkeypatch: Any) -> None:
    from integrations.ingest import commit

    def fails(*_: Any) -> None:
        raise RoundsError("no room")

    before = figures(open_ward)
    monkeypatch.setattr(commit, "note_findings", fails)
    with pytest.raises(RoundsError):
        open_ward.ingest(open_ward.extract(Observation=[result("o1")]), night=1)
    with open_ward.records.read() as db:
        assert db.execute(select(func.count()).select_from(s.finding)).scalar_one() == 0
    assert figures(open_ward) == before


def test_with_too_little_history_nothing_is_judged(open_ward: Ward) -> None:
    assert open_ward.send(night=1, Observation=[result("o1")]).found == ()
    odd = [result(f"x{number}", value=88.0, of=f"q{number}") for number in range(40)]
    people = [patient(f"q{number}") for number in range(40)]
    stays = [encounter(f"s{number}", of=f"q{number}") for number in range(40)]
    assert open_ward.send(night=2, Patient=people, Encounter=stays, Observation=odd).found == ()


def test_a_feed_that_does_not_come_is_overdue_by_its_usual_gap_and_lateness(open_ward: Ward) -> None:
    contract = load_contract("ward", open_ward.places.sources)
    for night in (1, 2, 3):
        open_ward.send(night=night, Patient=[patient(f"n{night}")])
    with open_ward.records.read() as db:
        last = db.execute(select(func.max(s.extract.c.received_at))).scalar_one()
        assert overdue(db, [contract], last + 48 * HOUR) == []
        [late] = overdue(db, [contract], last + 48 * HOUR + HOUR / 60)
    assert late.source == "ward"
    assert late.usual_gap == 24 * HOUR


def test_an_extract_that_comes_late_or_with_old_results_alone_says_so(open_ward: Ward) -> None:
    for night in (1, 2, 3):
        open_ward.send(night=night, Observation=[result(f"o{night}")])
    found = open_ward.send(night=6, Observation=[result("o6")]).found
    assert {(each.kind, each.subject) for each in found} >= {("freshness", "extract"), ("freshness", "results")}


def test_a_finding_is_opened_once_and_seen_again_in_the_next_extract(feed: OpenFeed) -> None:
    nights = feed("demo_lis", Hospital(patients=8000, nights=8, scenario="creatinine_unit", seed=3))
    nights.learn(range(1, 5))
    nights.play([5, 6])
    with nights.records.read() as db:
        [row] = [each for each in findings(db) if each.kind == "scale_jump"]
        seen = list(db.execute(select(s.finding_extract.c.extract_id)).scalars())
    assert row.opened_at == extract_taken_at(5)
    assert seen == ["demo_lis-005", "demo_lis-006"]


def test_a_sender_that_never_sent_before_is_seen(feed: OpenFeed) -> None:
    nights = feed("demo_lis", Hospital(patients=3000, nights=8, scenario="none", seed=3))
    for night in range(1, 6):
        sender = "LIS|DEMO" if night < 5 else "LIS2|EAST"
        nights.connection.execute(
            "create or replace temp table sent_message as select $id as extract_id, $sender as sender from range(40)",
            {"id": f"demo_lis-{night:03d}", "sender": sender},
        )
        found = nights.play([night])
    assert {each.kind for each in found} == {"sender_new", "sender_vanished"}


def test_a_factor_is_named_by_the_conversion_of_its_code() -> None:
    for code, usual, ratio, words in (
        ("2160-0", 1.0, 90.0, "mg/dL -> umol/L"),
        ("2345-7", 110.0, 1 / 18.0, "mg/dL -> mmol/L"),
        ("8310-5", 37.0, 2.66, "Cel -> [degF]"),
        ("2823-3", 4.1, 9.7, "a decimal point"),
    ):
        found = named_conversion(code, usual, ratio)
        assert found
        assert words in found.sentence
    assert named_conversion("2823-3", 4.1, 3.0) is None
