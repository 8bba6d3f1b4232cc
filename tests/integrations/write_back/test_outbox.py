"""Each score stands in the EHR once, however often write-back runs, dies or meets itself."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from integrations.fhir.risk_assessment import RiskDescription
from integrations.records import Records, audit
from integrations.write_back.file_target import FileTarget
from integrations.write_back.outbox import outbox_report, outbox_rows
from integrations.write_back.send import WriteBackCounts, write_back
from integrations.write_back.target import Delivery, Outgoing
from tests.integrations.write_back.conftest import NIGHT, Queue

SYSTEM = "urn:rounds:score"
Describe = dict[str, RiskDescription]


@dataclass
class Listener:
    """A target that answers as told, in turn, and remembers what it was sent."""

    answers: list[Delivery]
    heard: list[str] = field(default_factory=list)
    name: str = "listener"

    def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
        self.heard += [each.score_id for each in batch]
        return [self.answers.pop(0) for _ in batch]


def send(records: Records, describe: Describe, target: Any, **changes: Any) -> WriteBackCounts:
    given = {"as_of": NIGHT, "identifier_system": SYSTEM} | changes
    return write_back(records, target=target, describe=describe, **given)


def report(records: Records) -> dict[str, int]:
    with records.read() as connection:
        return outbox_report(connection)


def written(folder: Path) -> list[str]:
    bundles = [json.loads(path.read_text()) for path in sorted(folder.glob("*"))]
    return [entry["resource"]["subject"]["reference"] for bundle in bundles for entry in bundle["entry"]]


def test_a_batch_is_one_transaction_in_one_file_that_tells_nobody_by_its_name(
    records: Records, queue: Queue, describe: Describe, tmp_path: Path
) -> None:
    queue("1", "2")
    counts = send(records, describe, FileTarget(folder=tmp_path / "out", as_of=NIGHT))
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


def test_running_it_twice_sends_nothing_twice(
    records: Records, queue: Queue, describe: Describe, tmp_path: Path
) -> None:
    queue("1", "2")
    target = FileTarget(folder=tmp_path / "out", as_of=NIGHT)
    send(records, describe, target)
    assert send(records, describe, target, as_of=NIGHT + timedelta(days=1)) == WriteBackCounts()
    assert written(tmp_path / "out") == ["Patient/1", "Patient/2"]


def test_the_plan_says_what_the_run_then_does_and_changes_nothing(
    records: Records, queue: Queue, describe: Describe, tmp_path: Path
) -> None:
    queue("1", "2")
    queue("3", band="negligible")
    target = FileTarget(folder=tmp_path / "out", as_of=NIGHT)
    plan = send(records, describe, target, dry_run=True)
    assert plan == WriteBackCounts(due=3, resources=2, invalid=1, is_plan=True)
    assert report(records)["queued"] == 3
    assert not (tmp_path / "out").exists()
    done = send(records, describe, target)
    assert (done.due, done.resources, done.invalid) == (plan.due, plan.resources, plan.invalid)


def test_an_invalid_one_is_never_sent_and_says_why(records: Records, queue: Queue, describe: Describe) -> None:
    queue("1", encounter_id="demo_lis/e1")
    queue("2", band="certain")
    target = Listener([])
    assert send(records, describe, target) == WriteBackCounts(due=2, invalid=2, dead=2)
    assert target.heard == []
    with records.read() as connection:
        reasons = [each.last_error for each in outbox_rows(connection)]
    assert reasons == [
        "not sent, invalid: patient and encounter come from different sources",
        "not sent, invalid: band is not low, moderate or high",
    ]


def test_a_use_case_that_is_not_described_stays_silent(records: Records, queue: Queue) -> None:
    queue("1")
    assert send(records, {}, Listener([])) == WriteBackCounts()
    assert report(records)["queued"] == 1


def test_a_failed_one_is_tried_again_later_and_later_and_a_dead_one_never(
    records: Records, queue: Queue, describe: Describe
) -> None:
    queue("1", "2")
    failed = Delivery(status="failed", reason="the server answers 500")
    dead = Delivery(status="dead", reason="refused with 422")
    target = Listener([failed, dead, failed, replace(failed, retry_after=timedelta(hours=8))])
    assert send(records, describe, target) == WriteBackCounts(due=2, resources=2, failed=1, dead=1)
    waits = []
    for moment in (NIGHT, NIGHT + timedelta(minutes=1), NIGHT + timedelta(minutes=2)):
        send(records, describe, target, as_of=moment)  # too early the first and the third time
        with records.read() as connection:
            (row, _) = outbox_rows(connection)
        assert row.next_attempt_at
        waits.append(row.next_attempt_at - NIGHT)
    send(records, describe, target, as_of=NIGHT + timedelta(minutes=3))
    assert waits == [timedelta(minutes=1), timedelta(minutes=3), timedelta(minutes=3)]
    with records.read() as connection:
        (row, _) = outbox_rows(connection)
    assert row.next_attempt_at == NIGHT + timedelta(hours=8, minutes=3)
    assert (row.attempts, row.last_error) == (3, "the server answers 500")
    assert target.heard == ["score-1", "score-2", "score-1", "score-1"]


def test_what_one_has_in_hand_nobody_else_takes_until_the_lease_runs_out(
    records: Records, queue: Queue, describe: Describe
) -> None:
    queue("1")

    class Second(Listener):
        def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
            third = Listener([])
            inner.append(send(records, describe, third))
            return super().send(batch)

    inner: list[WriteBackCounts] = []
    done = Delivery(status="acknowledged", location="x")
    assert send(records, describe, Second([done])).acknowledged == 1
    assert inner == [WriteBackCounts()]


def test_an_answer_that_comes_after_the_lease_changes_nothing(
    records: Records, queue: Queue, describe: Describe
) -> None:
    queue("1")

    class Slow(Listener):
        def send(self, batch: Sequence[Outgoing]) -> list[Delivery]:
            quick = Listener([Delivery(status="acknowledged", location="by the other")])
            send(records, describe, quick, as_of=NIGHT + timedelta(hours=1))
            return super().send(batch)

    send(records, describe, Slow([Delivery(status="dead", reason="too late")]))
    with records.read() as connection:
        (row,) = outbox_rows(connection, ["acknowledged"])
    assert (row.location, row.last_error) == ("by the other", None)


@dataclass(frozen=True)
class DiesAfterSending(Records):
    """Records of a process that is killed between its send and its commit."""

    opened: list[int] = field(default_factory=list)

    @contextmanager
    def begin(self, *, dry_run: bool = False) -> Iterator[Connection]:
        self.opened.append(1)
        if len(self.opened) > 1:
            raise KeyboardInterrupt
        with super().begin(dry_run=dry_run) as connection:
            yield connection


def test_a_file_written_by_one_that_died_before_its_commit_is_found_again(
    records: Records, queue: Queue, describe: Describe, tmp_path: Path
) -> None:
    queue("1")
    target = FileTarget(folder=tmp_path / "out", as_of=NIGHT)
    with pytest.raises(KeyboardInterrupt):
        send(DiesAfterSending(records.engine), describe, target)
    assert report(records)["sent"] == 1
    queue("2")
    later = NIGHT + timedelta(minutes=16)
    counts = send(records, describe, FileTarget(folder=tmp_path / "out", as_of=later), as_of=later)
    assert counts.acknowledged == 2
    assert written(tmp_path / "out") == ["Patient/1", "Patient/2"]


def test_a_folder_that_cannot_be_written_puts_the_rest_off(
    records: Records, queue: Queue, describe: Describe, tmp_path: Path
) -> None:
    queue("1")
    (tmp_path / "out").write_text("a file where the folder should be")
    counts = send(records, describe, FileTarget(folder=tmp_path / "out", as_of=NIGHT))
    assert counts == WriteBackCounts(due=1, resources=1, failed=1)


def test_each_batch_leaves_counts_and_score_ids_in_the_audit_chain(
    records: Records, queue: Queue, describe: Describe
) -> None:
    queue("1", "2")
    send(records, describe, Listener([Delivery(status="acknowledged"), Delivery(status="dead", reason="no")]))
    with records.read() as connection:
        (entry,) = audit.entries(connection)
    assert entry.kind == "write_back"
    assert entry.body == {
        "target": "listener",
        "counts": {"acknowledged": 1, "dead": 1},
        "scores": {"acknowledged": ["score-1"], "dead": ["score-2"]},
    }


def test_the_report_counts_every_status(records: Records, queue: Queue) -> None:
    queue("1")
    assert report(records) == {"queued": 1, "sent": 0, "acknowledged": 0, "failed": 0, "dead": 0}
