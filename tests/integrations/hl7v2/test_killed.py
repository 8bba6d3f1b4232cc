"""The listener is killed again and again on a real socket; an independent ledger of the senders is the judge."""

import os
from pathlib import Path
from random import Random

import pytest

from integrations.hl7v2.reception import Reception
from tests.integrations.hl7v2.feed import HeardFeed, open_feed
from tests.integrations.hl7v2.killed import PATIENTS_OF_A_SENDER, SENDERS, Hasty, Ledger, play

SOAK = int(os.environ.get("ROUNDS_SOAK", 0))  # the seed of its round
KILLS, MESSAGES_EACH = (2_000, 5_000) if SOAK else (200, 500)  # of each of 40 patients
VALUES = """
select patient_id, list(value_number order by available_at), count(*)
from versions group by patient_id order by patient_id
"""


def findings(feed: HeardFeed, ledgers: list[Ledger], received: int) -> list[str]:
    """What the tables lack, hold twice or hold in another order, against what the senders were told."""
    found = [f"refused: {refused}" for each in ledgers for refused in each.refused]
    told = {f"lab/{patient}": values for each in ledgers for patient, values in each.acknowledged.items()}
    kept = {patient: values for patient, values, _ in feed.rows(VALUES, "observation")}
    for patient, values in told.items():
        expected = [round(1 + value / 1000, 3) for value in values]
        seen = kept.get(patient, [])
        if lost := len(set(expected) - set(seen)):
            found.append(f"{patient}: {lost} acknowledged results are lost")
        if len(seen) != len(set(seen)):
            found.append(f"{patient}: {len(seen) - len(set(seen))} results are applied twice")
        if seen != sorted(seen):
            found.append(f"{patient}: the results are out of order")
    total = sum(map(len, told.values()))
    if received != total:
        found.append(f"{received} results were received, {total} acknowledged")
    return found


def judged(home: Path, kills: int, messages_each: int, make: type[Reception]) -> tuple[list[str], list[Ledger], int]:
    """Play it with ingests in between, take in the rest, and judge."""
    feed = open_feed(home)
    received = 0

    def take_in() -> None:
        nonlocal received
        if (result := feed.take_in()) and (account := result.accounts.get("observation")):
            received += account.received - account.out_of_scope
            assert account.waiting == account.quarantined == 0

    ledgers, deaths = play(home, kills, messages_each, Random(kills + SOAK), make, take_in)
    take_in()
    return findings(feed, ledgers, received), ledgers, deaths


@pytest.mark.xdist_group("killed listener")
def test_no_acknowledged_message_is_lost_or_applied_twice_however_often_the_listener_is_killed(home: Path) -> None:
    found, ledgers, deaths = judged(home, KILLS, MESSAGES_EACH, Reception)
    sent = sum(len(values) for each in ledgers for values in each.acknowledged.values())
    again = sum(each.sent_again for each in ledgers)
    print(f"{deaths} kills over {sent:,} results, {again:,} tries without an answer, {len(found)} findings")
    assert found == []
    assert sent == SENDERS * PATIENTS_OF_A_SENDER * MESSAGES_EACH
    assert deaths == KILLS + 1
    assert again > KILLS


@pytest.mark.xdist_group("killed listener")
def test_a_build_that_acknowledges_before_it_writes_fails_the_judge(home: Path) -> None:
    found, _, deaths = judged(home, 10, 40, Hasty)
    print(f"control: {deaths} kills, {len(found)} findings")
    assert any("lost" in finding for finding in found)
