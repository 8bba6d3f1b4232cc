"""Each score stands in the EHR once, however often write-back runs, dies or meets itself."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from integrations.records import Records, audit
from integrations.write_back.file_target import FileTarget
from integrations.write_back.outbox import GIVE_UP_AFTER, STATUSES, outbox_report, outbox_rows, void_report
from integrations.write_back.permit import Permits
from integrations.write_back.send import WriteBackCounts, write_back
from integrations.write_back.target import Delivery, Outgoing
from tests.integrations.write_back.conftest import NIGHT, SYSTEM, Queue
from tests.integrations.write_back.dying import DiesBeforeCommit

ACKNOWLEDGED = Delivery(status="acknowledged", location="x")


@dataclass
class Listener:
    """A target that answers as told, in turn, and remembers what it was sent."""

    answers: list[Delivery]
    heard: list[str] = field(default_factory=list)
    name: str = "listener"

    def send(self, batch: Sequence[Outgoing]) -> Iterable[Delivery]:
        self.heard += [each.score_id for each in batch]
        return [self.answers.pop(0) for _ in batch]


def send(records: Records, permits: Permits, target: Any, **changes: Any) -> WriteBackCounts:
    given = {"as_of": NIGHT, "identifier_system": SYSTEM} | changes
    return write_back(records, target=target, permits=permits, **given)


def report(records: Records) -> dict[str, int]:
    with records.read() as connection:
        return outbox_report(connection)


def written(folder: Path) -> list[str]:
    bundles = [json.loads(path.read_text()) for path in sorted(folder.glob("*"))]
    return [entry["resource"]["subject"]["reference"] for bundle in bundles for entry in bundle["entry"]]


def test_a_batch_is_one_transaction_in_one_file_that_tells_nobody_by_its_name(
    records: Records, queue: Queue, permits: Permits, tmp_path: Path
) -> None:
    queue("1", "2")
    counts = send(records, permits, FileTarget(folder=tmp_path / "out", as_of=NIGHT))
    assert counts == WriteBackCounts(due=2, resources=2, acknowledged=2)
    (path,) = (tmp_path / "out").iterdir()
    assert path.name.startswith("20240702T060000Z-")
    assert path.stat().st_mode & 0o777 == 0o600
    bundle = json.loads(path.read_text())
    assert bundle["type"] == "transaction"
    assert bundle["entry"][0]["request"] == {
        "method": "POST",
        "url": "RiskAssessment",
        "ifNoneExist": f"identifier={SYSTEM}|00000000-0000-5000-8000-000000000001",
    }
    with records.read() as connection:
        assert outbox_rows(connection, ["acknowledged"])[0].location == path.name


def test_running_it_twice_sends_nothing_twice(records: Records, queue: Queue, permits: Permits, tmp_path: Path) -> None:
    queue("1", "2")
    target = FileTarget(folder=tmp_path / "out", as_of=NIGHT)
    send(records, permits, target)
    assert send(records, permits, target, as_of=NIGHT + timedelta(days=1)) == WriteBackCounts()
    assert written(tmp_path / "out") == ["Patient/1", "Patient/2"]


def test_the_plan_says_what_the_run_then_does_and_changes_nothing(
    records: Records, queue: Queue, permits: Permits, tmp_path: Path
) -> None:
    queue("1", "2")
    queue("3", band="negligible")
    target = FileTarget(folder=tmp_path / "out", as_of=NIGHT)
    plan = send(records, permits, target, dry_run=True)
    assert plan == WriteBackCounts(due=3, resources=2, invalid=1, is_plan=True)
    assert report(records)["queued"] == 3
    assert not (tmp_path / "out").exists()
    done = send(records, permits, target)
    assert (done.due, done.resources, done.invalid) == (plan.due, plan.resources, plan.invalid)


def test_an_invalid_one_is_never_sent_and_says_why(records: Records, queue: Queue, permits: Permits) -> None:
    queue("1", encounter_id="demo_lis/e1")
    queue("2", band="certain")
    target = Listener([])
    assert send(records, permits, target) == WriteBackCounts(due=2, invalid=2, dead=2)
    assert target.heard == []
    with records.read() as connection:
        reasons = [each.last_error for each in outbox_rows(connection)]
    assert reasons == [
        "not sent, invalid: patient and encounter come from different sources",
        "not sent, invalid: band is not low, moderate or high",
    ]


def test_a_use_case_without_permit_stays_silent(records: Records, queue: Queue) -> None:
    queue("1")
    assert send(records, {}, Listener([])) == WriteBackCounts()
    assert report(records)["queued"] == 1


def test_a_site_that_is_stopped_holds_up_no_other(records: Records, queue: Queue, permits: Permits) -> None:
    queue("1", site_id="stopped")
    queue("2")
    target = Listener([ACKNOWLEDGED])
    assert send(records, permits, target).acknowledged == 1
    assert target.heard == ["score-2"]


# --- what may not go out any more ---

FROM_ANOTHER_VERSION = "version 2 is not the champion any more"
TOO_OLD = "older than 72 h"


def rows(records: Records) -> dict[str, tuple[str, str | None]]:
    """Status and reason of every score."""
    with records.read() as connection:
        found = outbox_rows(connection, [*STATUSES, "void"])
    return {each.score_id: (each.status, each.last_error) for each in found}


def test_what_the_champion_did_not_make_or_is_too_old_is_void_and_never_sent(
    records: Records, queue: Queue, permits: Permits
) -> None:
    queue("1", version=2)
    queue("2", prediction_time=NIGHT - timedelta(hours=72, seconds=1))
    queue("3", prediction_time=NIGHT - timedelta(hours=72))
    target = Listener([ACKNOWLEDGED])
    plan = send(records, permits, target, dry_run=True)
    assert plan == WriteBackCounts(due=3, resources=1, withheld=2, is_plan=True)
    done = send(records, permits, target)
    assert done == WriteBackCounts(due=3, resources=1, withheld=2, acknowledged=1, void=2)
    assert target.heard == ["score-3"]
    assert rows(records) == {
        "score-1": ("void", FROM_ANOTHER_VERSION),
        "score-2": ("void", TOO_OLD),
        "score-3": ("acknowledged", None),
    }
    assert send(records, permits, target, as_of=NIGHT + timedelta(days=1)) == WriteBackCounts()
    with records.read() as connection:
        (entry,) = audit.entries(connection)
        assert void_report(connection) == {
            ("readmission_30d", TOO_OLD): 1,
            ("readmission_30d", FROM_ANOTHER_VERSION): 1,
        }
    assert entry.body["counts"] == {"void": 2, "acknowledged": 1}
    assert entry.body["void_because"] == {FROM_ANOTHER_VERSION: ["score-1"], TOO_OLD: ["score-2"]}


def test_one_that_may_have_arrived_is_looked_for_before_it_is_void(
    records: Records, queue: Queue, permits: Permits, tmp_path: Path
) -> None:
    queue("1")
    with pytest.raises(KeyboardInterrupt):
        send(DiesBeforeCommit(records.engine), permits, FileTarget(folder=tmp_path / "out", as_of=NIGHT))
    queue("2")
    with pytest.raises(KeyboardInterrupt):
        send(DiesBeforeCommit(records.engine), permits, FileTarget(folder=tmp_path / "lost", as_of=NIGHT))
    assert rows(records) == {"score-1": ("sent", None), "score-2": ("sent", None)}
    later = NIGHT + timedelta(days=90)
    target = FileTarget(folder=tmp_path / "out", as_of=later)
    assert send(records, permits, target, as_of=later, dry_run=True).withheld == 2
    counts = send(records, permits, target, as_of=later)
    assert counts == WriteBackCounts(due=2, withheld=2, acknowledged=1, void=1)
    assert rows(records) == {"score-1": ("acknowledged", None), "score-2": ("void", TOO_OLD)}
    assert written(tmp_path / "out") == ["Patient/1"]


def test_one_that_was_put_off_untried_is_void_without_a_look(records: Records, queue: Queue, permits: Permits) -> None:
    queue("1", "2")
    down = Delivery(status="failed", reason="the server answers 503", is_target_down=True)
    send(records, permits, Listener([down, replace(down, is_untried=True)]))
    again = Listener([down])
    counts = send(records, permits, again, as_of=NIGHT + timedelta(days=90))
    assert counts == WriteBackCounts(due=2, withheld=2, failed=1, void=1)
    assert again.heard == ["score-1"]


def test_a_void_one_leaves_its_place_to_the_champions(records: Records, queue: Queue, permits: Permits) -> None:
    queue("1", version=2)
    send(records, permits, Listener([]))
    queue("1", score_id="of the champion")
    target = Listener([ACKNOWLEDGED])
    assert send(records, permits, target).acknowledged == 1
    assert target.heard == ["of the champion"]
    with pytest.raises(IntegrityError):
        queue("1", score_id="a second one", version=4)


# --- one on which it breaks ---


@dataclass
class Breaks(Listener):
    """A target that breaks on one score, and takes the others."""

    on: str = "score-2"

    def send(self, batch: Sequence[Outgoing]) -> Iterator[Delivery]:
        for each in batch:
            self.heard.append(each.score_id)
            if each.score_id == self.on:
                raise KeyError("patient Example")
            yield ACKNOWLEDGED


def test_what_was_answered_is_noted_before_a_fault_is_raised_and_the_rest_is_sent(
    records: Records, queue: Queue, permits: Permits
) -> None:
    queue("1", "2", "3")
    target = Breaks([])
    with pytest.raises(KeyError):
        send(records, permits, target)
    assert target.heard == ["score-1", "score-2", "score-3"]
    assert rows(records) == {
        "score-1": ("acknowledged", None),
        "score-2": ("failed", "write-back broke on it: KeyError"),
        "score-3": ("acknowledged", None),
    }
    with records.read() as connection:
        (entry,) = audit.entries(connection)
    assert entry.body["counts"] == {"acknowledged": 2, "failed": 1}


def test_one_on_which_it_always_breaks_is_dead_in_the_end(records: Records, queue: Queue, permits: Permits) -> None:
    queue("2")
    for number in range(GIVE_UP_AFTER):
        with pytest.raises(KeyError):
            send(records, permits, Breaks([]), as_of=NIGHT + timedelta(hours=6 * number))
    assert rows(records) == {
        "score-2": ("dead", "given up after 8 failures, the last: write-back broke on it: KeyError")
    }
    assert send(records, permits, Breaks([]), as_of=NIGHT + timedelta(hours=60)) == WriteBackCounts()


def test_a_target_that_is_down_makes_none_dead(records: Records, queue: Queue, permits: Permits) -> None:
    queue("1")
    down = Delivery(status="failed", reason="the server answers 503", is_target_down=True)
    for number in range(GIVE_UP_AFTER + 1):
        send(records, permits, Listener([down]), as_of=NIGHT + timedelta(hours=6 * number))
    failed = Delivery(status="failed", reason="the server answers 500")
    assert send(records, permits, Listener([failed]), as_of=NIGHT + timedelta(hours=60)).failed == 1
    assert rows(records) == {"score-1": ("failed", "the server answers 500")}


def test_one_that_the_server_never_takes_goes_behind_those_not_yet_tried(
    records: Records, queue: Queue, permits: Permits
) -> None:
    queue("1", "2")
    down = Delivery(status="failed", reason="the server answers 403", is_target_down=True)
    target = Listener([down, replace(down, is_untried=True), ACKNOWLEDGED, down])
    send(records, permits, target)
    send(records, permits, target, as_of=NIGHT + timedelta(hours=1))
    assert target.heard == ["score-1", "score-2", "score-2", "score-1"]
    assert rows(records) == {"score-1": ("failed", "the server answers 403"), "score-2": ("acknowledged", None)}


def test_one_that_cannot_be_said_in_fhir_holds_up_no_other_and_shows_no_value(
    records: Records, queue: Queue, permits: Permits
) -> None:
    queue("1", explanation=[{"feature": "age_years", "value": "Example", "contribution": 1}])
    queue("2")
    plan = send(records, permits, Listener([]), dry_run=True)
    assert plan == WriteBackCounts(due=2, resources=1, invalid=1, is_plan=True)
    counts = send(records, permits, Listener([ACKNOWLEDGED]))
    assert counts == WriteBackCounts(due=2, resources=1, invalid=1, acknowledged=1, failed=1)
    assert rows(records)["score-1"] == ("failed", "cannot be made into a RiskAssessment: ValueError")


def test_a_target_that_answers_for_fewer_than_it_was_given_is_a_fault(
    records: Records, queue: Queue, permits: Permits
) -> None:
    queue("1", "2")

    class Forgets(Listener):
        def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
            return [ACKNOWLEDGED] if batch[0].score_id == "score-1" else []

    with pytest.raises(ValueError, match="shorter"):
        send(records, permits, Forgets([]))
    assert rows(records) == {
        "score-1": ("acknowledged", None),
        "score-2": ("failed", "write-back broke on it: ValueError"),
    }


def test_a_failed_one_is_tried_again_later_and_later_and_a_dead_one_never(
    records: Records, queue: Queue, permits: Permits
) -> None:
    queue("1", "2")
    failed = Delivery(status="failed", reason="the server answers 500")
    dead = Delivery(status="dead", reason="refused with 422")
    target = Listener([failed, dead, failed, replace(failed, retry_after=timedelta(hours=8))])
    assert send(records, permits, target) == WriteBackCounts(due=2, resources=2, failed=1, dead=1)
    waits = []
    for moment in (NIGHT, NIGHT + timedelta(minutes=1), NIGHT + timedelta(minutes=2)):
        send(records, permits, target, as_of=moment)  # too early the first and the third time
        with records.read() as connection:
            (row, _) = outbox_rows(connection)
        assert row.next_attempt_at
        waits.append(row.next_attempt_at - NIGHT)
    send(records, permits, target, as_of=NIGHT + timedelta(minutes=3))
    assert waits == [timedelta(minutes=1), timedelta(minutes=3), timedelta(minutes=3)]
    with records.read() as connection:
        (row, _) = outbox_rows(connection)
    assert row.next_attempt_at == NIGHT + timedelta(hours=8, minutes=3)
    assert (row.attempts, row.last_error) == (3, "the server answers 500")
    assert target.heard == ["score-1", "score-2", "score-1", "score-1"]


def test_what_one_has_in_hand_nobody_else_takes_until_the_lease_runs_out(
    records: Records, queue: Queue, permits: Permits
) -> None:
    queue("1")

    class Second(Listener):
        def send(self, batch: Sequence[Outgoing]) -> Iterable[Delivery]:
            third = Listener([])
            inner.append(send(records, permits, third))
            return super().send(batch)

    inner: list[WriteBackCounts] = []
    done = Delivery(status="acknowledged", location="x")
    assert send(records, permits, Second([done])).acknowledged == 1
    assert inner == [WriteBackCounts()]


def test_an_answer_that_comes_after_the_lease_changes_nothing(records: Records, queue: Queue, permits: Permits) -> None:
    queue("1")

    class Slow(Listener):
        def send(self, batch: Sequence[Outgoing]) -> Iterable[Delivery]:
            quick = Listener([Delivery(status="acknowledged", location="by the other")])
            send(records, permits, quick, as_of=NIGHT + timedelta(hours=1))
            return super().send(batch)

    send(records, permits, Slow([Delivery(status="dead", reason="too late")]))
    with records.read() as connection:
        (row,) = outbox_rows(connection, ["acknowledged"])
    assert (row.location, row.last_error) == ("by the other", None)


def test_a_file_written_by_one_that_died_before_its_commit_is_found_again(
    records: Records, queue: Queue, permits: Permits, tmp_path: Path
) -> None:
    queue("1")
    target = FileTarget(folder=tmp_path / "out", as_of=NIGHT)
    with pytest.raises(KeyboardInterrupt):
        send(DiesBeforeCommit(records.engine), permits, target)
    assert report(records)["sent"] == 1
    queue("2")
    later = NIGHT + timedelta(minutes=16)
    counts = send(records, permits, FileTarget(folder=tmp_path / "out", as_of=later), as_of=later)
    assert counts.acknowledged == 2
    assert written(tmp_path / "out") == ["Patient/1", "Patient/2"]


def test_a_folder_that_cannot_be_written_puts_the_rest_off(
    records: Records, queue: Queue, permits: Permits, tmp_path: Path
) -> None:
    queue("1")
    (tmp_path / "out").write_text("a file where the folder should be")
    counts = send(records, permits, FileTarget(folder=tmp_path / "out", as_of=NIGHT))
    assert counts == WriteBackCounts(due=1, resources=1, failed=1)


def test_each_batch_leaves_counts_and_score_ids_in_the_audit_chain(
    records: Records, queue: Queue, permits: Permits
) -> None:
    queue("1", "2")
    send(records, permits, Listener([Delivery(status="acknowledged"), Delivery(status="dead", reason="no")]))
    with records.read() as connection:
        (entry,) = audit.entries(connection)
    assert entry.kind == "write_back"
    assert entry.body == {
        "target": "listener",
        "counts": {"acknowledged": 1, "dead": 1},
        "scores": {"acknowledged": ["score-1"], "dead": ["score-2"]},
    }


def test_the_report_counts_every_status_and_a_void_one_as_dead(
    records: Records, queue: Queue, permits: Permits
) -> None:
    queue("1")
    assert report(records) == {"queued": 1, "sent": 0, "acknowledged": 0, "failed": 0, "dead": 0}
    send(records, permits, Listener([]), as_of=NIGHT + timedelta(days=90))
    assert report(records) == {"queued": 0, "sent": 0, "acknowledged": 0, "failed": 0, "dead": 1}
