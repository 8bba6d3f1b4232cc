"""One circuit per server: what one worker learns of a server that is down, all workers know."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from integrations.records import Records
from integrations.web.breaker import FIRST_OPEN, LONGEST_OPEN, MOST_FAILURES, TRIAL, Breaker
from integrations.web.patience import NotNow

EHR = "https://ehr.example.org/fhir"


@dataclass
class Clock:
    """A clock that a story moves on."""

    now: datetime = field(default=datetime(2024, 7, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workers(records: Records, clock: Clock) -> list[Breaker]:
    """Three workers that ask the same server."""
    return [Breaker.of(EHR, records, clock) for _ in range(3)]


def passing(workers: list[Breaker]) -> int:
    """How many of them may ask now."""
    count = 0
    for worker in workers:
        try:
            worker.check()
            count += 1
        except NotNow:
            pass
    return count


def fail(worker: Breaker, times: int) -> None:
    for _ in range(times):
        worker.failed()


def test_a_server_that_answers_leaves_no_trace(workers: list[Breaker]) -> None:
    workers[0].succeeded()
    assert passing(workers) == 3


def test_failures_of_all_workers_count_together_and_open_the_circuit_for_all(workers: list[Breaker]) -> None:
    for number in range(MOST_FAILURES - 1):
        fail(workers[number % 3], 1)
    assert passing(workers) == 3
    fail(workers[0], 1)
    assert passing(workers) == 0


def test_one_success_in_between_begins_the_count_anew(workers: list[Breaker]) -> None:
    fail(workers[0], MOST_FAILURES - 1)
    workers[1].succeeded()
    fail(workers[0], MOST_FAILURES - 1)
    assert passing(workers) == 3


def test_while_it_is_open_a_worker_is_told_how_long(workers: list[Breaker], clock: Clock) -> None:
    fail(workers[0], MOST_FAILURES)
    clock.now += timedelta(seconds=5)
    with pytest.raises(NotNow, match="circuit is open") as told:
        workers[1].check()
    assert told.value.retry_after == FIRST_OPEN - timedelta(seconds=5)


def test_then_one_worker_tries_and_its_success_closes_the_circuit(workers: list[Breaker], clock: Clock) -> None:
    fail(workers[0], MOST_FAILURES)
    clock.now += FIRST_OPEN
    assert passing(workers) == 1
    workers[0].succeeded()
    assert passing(workers) == 3


def test_a_trial_that_fails_opens_it_for_twice_as_long(workers: list[Breaker], clock: Clock) -> None:
    fail(workers[0], MOST_FAILURES)
    clock.now += FIRST_OPEN
    assert passing(workers) == 1
    fail(workers[0], 1)
    clock.now += FIRST_OPEN * 2 - timedelta(seconds=1)
    assert passing(workers) == 0
    clock.now += timedelta(seconds=1)
    assert passing(workers) == 1


def test_a_trial_whose_worker_died_is_not_waited_for_for_ever(workers: list[Breaker], clock: Clock) -> None:
    fail(workers[0], MOST_FAILURES)
    clock.now += FIRST_OPEN
    assert passing(workers) == 1
    clock.now += TRIAL
    assert passing(workers) == 1


def test_it_is_never_open_for_longer_than_the_longest(workers: list[Breaker], clock: Clock) -> None:
    fail(workers[0], MOST_FAILURES + 40)
    clock.now += LONGEST_OPEN
    assert passing(workers) == 1


def test_another_server_has_a_circuit_of_its_own(workers: list[Breaker], records: Records, clock: Clock) -> None:
    fail(workers[0], MOST_FAILURES)
    assert passing([Breaker.of("https://ehr.example.org:8443/fhir", records, clock)]) == 1
    assert passing([Breaker.of("HTTPS://EHR.example.org:443/other", records, clock)]) == 0
