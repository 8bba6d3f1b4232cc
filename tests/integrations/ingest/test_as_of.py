"""What was seen on a night is seen of that night for ever, whatever comes through the door later."""

from collections.abc import Callable
from typing import Any

from integrations.ingest import retry
from tests.integrations.ingest.conftest import CODES, Ward, encounter, patient, result
from tests.integrations.ingest.test_known_when import ENDED
from tests.integrations.ingest.test_quarantine import mend, night, without

Seen = list[tuple[Any, ...]]


def lived(ward: Ward, columns: str, table: str, *nights: Callable[[], object]) -> list[Seen]:
    """What is seen on each of the nights that follow, asked at once and once more after the last of them."""
    at_once = []
    for number, happens in enumerate(nights, 1):
        happens()
        at_once.append(seen(ward, columns, table, number))
    assert [seen(ward, columns, table, number) for number in range(1, len(nights) + 1)] == at_once
    return at_once


def seen(ward: Ward, columns: str, table: str, number: int) -> Seen:
    rows = ward.seen(f"{columns}, is_retracted", table, number)
    return [row[:-1] for row in rows if not row[-1]]


def test_a_result_that_comes_late_is_seen_from_the_night_that_brought_it(open_ward: Ward) -> None:
    told = lived(
        open_ward,
        "value_number",
        "observation",
        lambda: open_ward.send(night=1, Observation=[result("o2", 2.0, effectiveDateTime="2024-03-10T10:00:00-06:00")]),
        lambda: open_ward.send(night=2, Observation=[result("o1", 1.0)]),
    )
    assert told == [[(2.0,)], [(1.0,), (2.0,)]]


def test_a_result_is_seen_as_it_was_before_it_was_corrected_withdrawn_and_sent_again(open_ward: Ward) -> None:
    sent = [(1.0, "final"), (1.4, "corrected"), (1.4, "entered-in-error"), (1.5, "corrected")]
    told = lived(
        open_ward,
        "value_number",
        "observation",
        *(
            lambda number=number, value=value, status=status: open_ward.send(
                night=number, Observation=[result("o1", value, status=status)]
            )
            for number, (value, status) in enumerate(sent, 1)
        ),
    )
    assert told == [[(1.0,)], [(1.4,)], [], [(1.5,)]]


def test_a_stay_that_comes_late_and_the_results_that_waited_for_it_are_seen_from_its_night_on(open_ward: Ward) -> None:
    told = lived(
        open_ward,
        "encounter_id",
        "observation",
        lambda: open_ward.send(night=1, Observation=[result("o9", 2.0, stay="e9")]),
        lambda: open_ward.send(night=2, Encounter=[encounter("e9")]),
    )
    assert told == [[], [("ward/e9",)]]
    assert [seen(open_ward, "encounter_id", "encounter", number) for number in (1, 2)] == [
        [("ward/e1",)],
        [("ward/e1",), ("ward/e9",)],
    ]


def test_a_discharge_that_is_entered_afterwards_is_seen_from_its_night_on_and_not_from_the_discharge(
    open_ward: Ward,
) -> None:
    told = lived(
        open_ward,
        "ended_at is not null",
        "encounter",
        lambda: None,
        lambda: open_ward.send(night=2, Encounter=[encounter(ends=ENDED)]),
        lambda: open_ward.send(night=3, Encounter=[encounter()]),
        lambda: open_ward.send(night=4, Encounter=[encounter(ends="2024-03-08T09:00:00-06:00")]),
    )
    assert told == [[(False,)], [(True,)], [(False,)], [(True,)]]  # ENDED lies before the first night


def test_what_is_released_from_quarantine_is_seen_from_its_release_on(open_ward: Ward) -> None:
    def quarantined() -> None:
        mend(open_ward, without("2160-0"))
        open_ward.send(night=1, Observation=[result("o1", 1.0)])

    def released() -> None:
        mend(open_ward, CODES)
        retry("ward", as_of=night(3), places=open_ward.places, records=open_ward.records, dry_run=False)

    told = lived(
        open_ward,
        "value_number",
        "observation",
        quarantined,
        lambda: open_ward.send(night=2, Observation=[result("o2", 8.0, code="2823-3", unit="mmol/L")]),
        released,
    )
    assert told == [[], [(8.0,)], [(1.0,), (8.0,)]]


def test_a_row_that_waits_and_is_retried_is_seen_from_its_uptake_on(open_ward: Ward) -> None:
    """Quarantined, then waiting for its patient, then taken up: each night sees what was known on it."""

    def released() -> None:
        mend(open_ward, CODES)
        retry("ward", as_of=night(2), places=open_ward.places, records=open_ward.records, dry_run=False)

    def quarantined() -> None:
        mend(open_ward, without("2160-0"))
        open_ward.send(night=1, Observation=[result("o7", 1.0, of="p7", stay=None)])

    told = lived(
        open_ward,
        "patient_id, value_number",
        "observation",
        quarantined,
        released,
        lambda: open_ward.send(night=3, Patient=[patient("p7")]),
    )
    assert told == [[], [], [("ward/p7", 1.0)]]
